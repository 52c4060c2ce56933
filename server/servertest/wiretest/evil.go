package wiretest

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	evilTexts = []string{
		"x", "\x00", "a\x00b", "\u202eevil", "\xff\xfe", "'; DROP TABLE usage_rows; --", "../../etc/passwd", "%s%n", "${jndi:x}",
		"<script>", "null", "[]", "-1",
		strings.Repeat("a", 4000), strings.Repeat("\u00e4", 2000),
	}
	evilTimes = append([]string{
		"2023-08-15", "2023-08-15T00:00:00", "2023-08-15T24:00:00Z", "2023-08-15T00:00:60Z", "2023-02-30T00:00:00Z", "0001-01-01T00:00:00Z",
		"0000-01-01T00:00:00Z",
		"10000-01-01T00:00:00Z", "9999-12-31T00:00:00.5Z", "2023-08-15t00:00:00z", "2023-08-15T00:00:00+13:07", "2023-08-15T00:00:00+25:00",
		"2023-08-15T00:00:00-99:99", "2023-08-15T00:00:00+15:00", "2023-08-15T00:00:00-12:15", "2023-08-15 00:00:00Z", "1692057600",
		"2023-08-15T00:00:00Z ",
	}, evilTexts...)
	// EvilZones are no names of time zones.
	EvilZones = append([]string{
		"Local", "local", "/etc/passwd", "../UTC", "UTC\x00", "Europe/Berlin\n", "posixrules", "Europe", "europe/berlin", "+02:00",
		"Mars/Olympus",
	}, evilTexts...)
	evilIDs = append([]string{"00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-00000000000g"}, evilTexts...)
)

// Evil are the bad values of each field; what is missing here fails the test.
var Evil = map[protoreflect.Name][]string{
	"start_time": evilTimes, "end_time": evilTimes, "previous_start_time": evilTimes, "previous_end_time": evilTimes,
	"start": slices.DeleteFunc(slices.Clone(evilTimes), func(s string) bool { return strings.HasPrefix(s, "9999") }),
	// may be in the future
	"end":      slices.DeleteFunc(slices.Clone(evilTimes), func(s string) bool { return strings.HasPrefix(s, "9999") }),
	"timezone": EvilZones, "template_ids": evilIDs, "template_id": nil, "organization": nil, "org": evilIDs, "organization_id": evilIDs,
	"interval": append([]string{"month ", "DAY", "0 day", "1 hour", "99999999999 weeks", "1 day 1 day"}, evilTexts...),
	"sections": append([]string{"reports", "report,intervals"}, evilTexts...),
	"sort":     append([]string{"SECONDS", "-seconds"}, evilTexts...), "category": append([]string{"ides", "any,ide"}, evilTexts...),
	"kind":       append([]string{"Human", "human,robot", "person"}, evilTexts...),
	"actor":      append([]string{"human", "Person", "person,robot", "everybody"}, evilTexts...),
	"q":          {":x", "x:", "a:b:c", "name:a:b", strings.Repeat("a", 1025)}, // "color:red" is a fault of color
	"page_token": append([]string{"AAAA", "e30", "eyJBZnRlciI6bnVsbH0"}, evilTexts...),
	"search":     {"\x00", "a\x00b", "\n", "\xff\xfe", strings.Repeat("a", 129), strings.Repeat("a", 4000)},
	"page_size": {
		"-1", "1001", "-2147483648", "2147483647", "2147483648", "99999999999999999999", "1e3", "0x10", "1.5", " 1", "x", "\u0663",
	},
	"metrics":    append([]string{"active_user", "active_users,active_users", "ACTIVE_USERS", "running_minutes"}, evilTexts...),
	"dimensions": append([]string{"users", "template,template", "template,app,user", "parameter:", "day"}, evilTexts...),
	"filters": append([]string{
		"app", "=", "=vscode", "app=", "interval=2023-08-15T00:00:00Z", "user=x", "template!=x", "actor=all", "purpose=work", "app=a\x00b",
		"colour=red",
	}, evilTexts...),
	"dimension": append([]string{
		"users", "template,app", "parameter:", "interval", "hour_of_week", "Template", "template=x",
	}, evilTexts...),
	"week_start": append([]string{"Monday", "tuesday", "1"}, evilTexts...),
	"compare":    append([]string{"before", "YEAR", "previous,year"}, evilTexts...),
	"order_by":   append([]string{"--active_users", "user", "label", "-"}, evilTexts...),
	"tz_offset":  {"-13", "15", "-2147483648", "2147483647", "2147483648", "99999999999999999999", "5.5", "1e0", "x", "+", "\x00"},
}

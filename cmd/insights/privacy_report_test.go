package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/inventory"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// The report says what holds, who holds what, who looked at whom and what is stored, names nobody, and is a look itself.
func TestPrivacyReport(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			ctx, auditor := t.Context(), uuid.New()
			latency := f.Row(0, 0, 17, 0b11) // long beyond every retention
			latency.Kind, latency.App, latency.Connected, latency.Bins = minute.Connection, "", false, []byte{100, 110}
			f.MustMerge(t, latency, f.Row(0, 0, 18, 0b11))
			if _, err := f.Fold(ctx); err != nil {
				t.Fatal(err)
			}
			group := store.Group{ID: uuid.New(), OrganizationID: f.Organization, Name: "support", UserIDs: []uuid.UUID{f.Users[1]}}
			authority := store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true}
			refusals, err := f.ApplyCatalog(ctx, store.Catalog{Groups: []store.Group{group}}, authority)
			if err != nil || len(refusals) > 0 {
				t.Fatal(refusals, err)
			}
			for _, set := range []struct {
				organization uuid.UUID
				mode         store.PrivacyMode
			}{{uuid.Nil, store.PrivacyPseudonym}, {f.Organization, store.PrivacyAggregate}} {
				officer := access.Principal{Kind: access.KindUser, ID: f.Users[0]}
				if _, err := f.SetPrivacyMode(ctx, officer, set.organization, set.mode); err != nil {
					t.Fatal(err)
				}
			}
			for _, b := range []store.RoleBinding{
				{PrincipalKind: access.KindService, PrincipalID: auditor, Role: access.RoleAuditor},
				{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleOwner},
				{PrincipalKind: store.KindGroup, PrincipalID: group.ID, Role: access.RoleUserAdmin},
			} {
				if _, err := f.GrantRole(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			for _, look := range []struct {
				kind   access.Kind
				id     uuid.UUID
				action string
			}{
				{access.KindService, auditor, "GetUserActivity"},
				{access.KindService, auditor, "GetUserActivity"},
				{access.KindService, auditor, "GetUserActivity" + store.AuditAsFile},
				{access.KindUser, f.Users[0], "ResolvePseudonym"},
				{access.KindUser, f.Users[1], "GetUserLatency"},
				{access.KindUser, f.Users[0], "EraseUser"},
				{access.KindUser, f.Users[0], "GrantRole"},
			} {
				if err := f.RecordAudit(ctx, look.kind, look.id, look.action, "{}"); err != nil {
					t.Fatal(err)
				}
			}
			server := storetest.Open(t, f.Database, time.Now()) // Postgres has the real time
			promise := store.Promise{
				PrivacyFloor: 7, Timezone: "Europe/Berlin", Retention: store.Retention{Usage: 24 * time.Hour, Audit: 9600 * time.Hour},
			}
			report := func() (r privacyReport) {
				t.Helper()
				code, out, errs := command(t, nil, "privacy", "report", "--database="+f.Database, "--format=json")
				if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil {
					t.Fatalf("%d %v\n%s%s", code, err, out, errs)
				}
				return r
			}
			for range 2 {
				if err := server.RecordPromise(ctx, uuid.UUID{1}, promise); err != nil {
					t.Fatal(err)
				}
			}
			r := report()
			if r.Mode.Mode != "pseudonym" || !r.Decided || r.Mode.Since == nil {
				t.Errorf("mode %+v, decided %v", r.Mode, r.Decided)
			}
			if len(r.Overrides) != 1 || r.Overrides[0].OrganizationID != f.Organization.String() || r.Overrides[0].Organization != "acme" ||
				r.Overrides[0].Mode != "aggregate" || r.Overrides[0].Meaning != store.PrivacyAggregate.Meaning() {
				t.Errorf("overrides %+v", r.Overrides)
			}
			if len(r.Changes) != 2 || !slices.Contains(r.Changes, reportedChange{
				storetest.Now, "user", f.Users[0].String(), f.Organization.String(), "pseudonym", "aggregate",
			}) || !slices.Contains(r.Changes, reportedChange{storetest.Now, "user", f.Users[0].String(), "", "full", "pseudonym"}) {
				t.Errorf("changes %+v", r.Changes)
			}
			want := reportedPromise{1, 7, false, "Europe/Berlin", "24h0m0s", "for ever", "9600h0m0s"}
			if len(r.Servers) != 1 || r.Servers[0] != want || len(r.Disagree) > 0 {
				t.Errorf("servers %+v disagree on %q", r.Servers, r.Disagree)
			}
			kinds := map[string]reportedKind{}
			for _, k := range r.Retention {
				kinds[k.Kind] = k
			}
			usage, latencies, trail := kinds[store.ExpiredUsage], kinds[store.ExpiredLatency], kinds[store.ExpiredAudit]
			if !slices.Equal(usage.Keep, []string{"24h0m0s"}) || usage.Oldest == nil || !usage.Beyond ||
				!slices.Equal(latencies.Keep, []string{"for ever"}) || latencies.Oldest == nil || latencies.Beyond ||
				!slices.Equal(trail.Keep, []string{"9600h0m0s"}) || trail.Oldest == nil || len(kinds) != len(store.ExpiredKinds) {
				t.Errorf("retention %+v", r.Retention)
			}
			if !slices.ContainsFunc(r.Rights, func(b reportedRight) bool { return b.ID == auditor.String() && b.Role == "auditor" }) {
				t.Errorf("rights %+v", r.Rights)
			}
			did := map[string]int64{}
			for _, d := range append(slices.Clone(r.Looks), r.Erasures...) {
				did[d.Action+" "+d.Kind+" "+d.Role] = d.Times
			}
			for want, times := range map[string]int64{
				"GetUserActivity service auditor": 2, "ResolvePseudonym user owner": 1, "GetUserLatency user user-admin": 1,
				"EraseUser user owner": 1, "privacy report command-line ": 1,
			} {
				if did[want] != times {
					t.Errorf("%s: %d times, want %d; there are %v", want, did[want], times, did)
				}
			}
			if len(r.Exports) != 1 || r.Exports[0].Action != "GetUserActivity as file" || r.Exports[0].Role != "auditor" {
				t.Errorf("exports: %+v", r.Exports)
			}
			if len(did) != 5 || len(r.Erasures) != 1 {
				t.Errorf("looks and erasures: %v", did)
			}
			if len(r.Stored) != len(inventory.Columns()) {
				t.Errorf("%d columns", len(r.Stored))
			}

			code, page, errs := command(t, nil, "privacy", "report", "--database="+f.Database)
			for _, want := range []string{
				"Mode of the deployment: pseudonym", "1        7              together  Europe/Berlin", "should be gone", auditor.String(),
				"users: Users. A deleted user takes the place of an erased one.", "totals; without a link in people",
			} {
				if code != exitOK || !strings.Contains(page, want) {
					t.Errorf("%d %s: the page does not say %q:\n%s", code, errs, want, page)
				}
			}
		})
	}
}

// The report says what servers run with, that they disagree, and what is announced.
func TestPrivacyReportOfServers(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, now := storetest.NewFixture(t, open(t)), time.Now() // Postgres has the real time
			var rows []store.OpenRow
			for n := range int32(40) {
				row := f.Row(0, 0, 20, 0b11)
				row.HalfHour = (int32(now.Unix()/86400)-n)*minute.HalfHoursPerDay + 1
				rows = append(rows, row)
			}
			f.MustMerge(t, rows...)
			report := func() (r privacyReport, page string) {
				t.Helper()
				code, out, errs := command(t, nil, "privacy", "report", "--database="+f.Database, "--format=json")
				if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil {
					t.Fatalf("%d %v\n%s%s", code, err, out, errs)
				}
				_, page, _ = command(t, nil, "privacy", "report", "--database="+f.Database)
				return r, page
			}
			r, page := report()
			if len(r.Servers) > 0 || !strings.Contains(page, "Settings of the servers that run\nnone") {
				t.Errorf("without servers: %+v\n%s", r.Servers, page)
			}
			server := storetest.Open(t, f.Database, now)
			keep := store.Retention{Usage: 240 * time.Hour}
			for i, p := range []store.Promise{
				{PrivacyFloor: 5, Timezone: "UTC", Retention: keep},
				{PrivacyFloor: 5, Timezone: "UTC", Retention: keep},
				{PrivacyFloor: 7, AIPerPerson: true, Timezone: "UTC"},
			} {
				if err := server.RecordPromise(t.Context(), uuid.UUID{byte(i)}, p); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := server.BrakeRetention(t.Context(), keep); err != nil {
				t.Fatal(err)
			}
			r, page = report()
			if len(r.Servers) != 2 || r.Servers[0].Servers != 2 || r.Servers[1].Floor != 7 ||
				r.Servers[0].AIPerPerson || !r.Servers[1].AIPerPerson ||
				!slices.Equal(r.Disagree, []string{"privacy_floor", "ai_per_person", "usage_retention"}) {
				t.Errorf("three servers: %+v disagree on %q", r.Servers, r.Disagree)
			}
			usage := r.Retention[slices.Index(store.ExpiredKinds, store.ExpiredUsage)]
			if a := usage.Announced; a == nil || a.Days != 29 || a.Stored != 40 || a.Due.Sub(a.At) != 24*time.Hour || usage.Beyond {
				t.Errorf("announced: %+v", usage)
			}
			for _, want := range []string{
				"per person", "Servers disagree on privacy_floor, ai_per_person, usage_retention.",
				"240h0m0s or for ever", "29 of 40 days go at ", ", as announced at ",
			} {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q:\n%s", want, page)
				}
			}
		})
	}
}

// What nothing holds and all servers would delete should be gone; the rest waits, and says for what.
func TestRetentionOf(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := storetest.Now
	ten, twenty := store.Promises{Promise: store.Promise{Retention: store.Retention{Usage: 10 * day}}}, store.Promises{}
	twenty.Usage = 20 * day
	announced := func(kind string, ago time.Duration) store.Brake {
		return store.Brake{Announced: []store.Announcement{{Kind: kind, Keep: 10 * day, Days: 5, Stored: 15, At: store.At(now.Add(-ago))}}}
	}
	for name, of := range map[string]struct {
		kind     string
		promises []store.Promises
		held     store.Brake
		oldest   time.Duration // before now
		state    string
	}{
		"no server":           {store.ExpiredUsage, nil, store.Brake{}, 100 * day, ""},
		"late":                {store.ExpiredUsage, []store.Promises{ten}, store.Brake{}, 13 * day, "should be gone"},
		"by whole days":       {store.ExpiredUsage, []store.Promises{ten}, store.Brake{}, 12 * day, ""},
		"a longer one":        {store.ExpiredUsage, []store.Promises{ten, twenty}, store.Brake{}, 15 * day, ""},
		"beyond both":         {store.ExpiredUsage, []store.Promises{ten, twenty}, store.Brake{}, 23 * day, "should be gone"},
		"for ever":            {store.ExpiredUsage, []store.Promises{ten, {}}, store.Brake{}, 100 * day, ""},
		"builds follow usage": {store.ExpiredBuilds, []store.Promises{ten}, store.Brake{}, 13 * day, "should be gone"},
		"doubted": {
			store.ExpiredUsage, []store.Promises{ten}, store.Brake{Doubted: true}, 13 * day, "held: the clock is in doubt",
		},
		"announced": {
			store.ExpiredBuilds,
			[]store.Promises{ten},
			announced(store.ExpiredUsage, 12*time.Hour), 13 * day,
			"5 of 15 days go at " + now.Add(12*time.Hour).Format(time.RFC3339) + ", as announced at " +
				now.Add(-12*time.Hour).Format(time.RFC3339),
		},
		"overdue": {
			store.ExpiredUsage,
			[]store.Promises{ten},
			announced(store.ExpiredUsage, 27*time.Hour), 13 * day,
			"5 of 15 days go at " + now.Add(-3*time.Hour).Format(time.RFC3339) + ", as announced at " +
				now.Add(-27*time.Hour).Format(time.RFC3339) + "; should be gone",
		},
		"another kind": {store.ExpiredUsage, []store.Promises{ten}, announced(store.ExpiredAudit, time.Hour), 13 * day, "should be gone"},
	} {
		k := retentionOf(of.kind, of.promises, of.held, store.At(now.Add(-of.oldest)), now)
		if k.state() != of.state {
			t.Errorf("%s: %q, want %q", name, k.state(), of.state)
		}
	}
}

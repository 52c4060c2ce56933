package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

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
				if _, err := f.SetPrivacyMode(ctx, set.organization, set.mode); err != nil {
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
			args := []string{
				"privacy", "report", "--database=" + f.Database, "--privacy-floor=7", "--timezone=Europe/Berlin", "--usage-retention=24h",
			}
			code, out, errs := command(t, nil, append(args, "--latency-retention=0", "--format=json")...)
			var r privacyReport
			if err = json.Unmarshal([]byte(out), &r); code != exitOK || err != nil {
				t.Fatalf("%d %v\n%s%s", code, err, out, errs)
			}
			if r.Mode.Mode != "pseudonym" || !r.Decided || r.Mode.Since == nil {
				t.Errorf("mode %+v, decided %v", r.Mode, r.Decided)
			}
			if len(r.Overrides) != 1 || r.Overrides[0].OrganizationID != f.Organization.String() || r.Overrides[0].Organization != "acme" ||
				r.Overrides[0].Mode != "aggregate" || r.Overrides[0].Meaning != store.PrivacyAggregate.Meaning() {
				t.Errorf("overrides %+v", r.Overrides)
			}
			if r.Floor != 7 || r.Timezone != "Europe/Berlin" {
				t.Errorf("floor %d, zone %s", r.Floor, r.Timezone)
			}
			kinds := map[string]reportedKind{}
			for _, k := range r.Retention {
				kinds[k.Kind] = k
			}
			usage, latencies, trail := kinds[store.ExpiredUsage], kinds[store.ExpiredLatency], kinds[store.ExpiredAudit]
			if usage.Keep != "24h0m0s" || usage.Oldest == nil || !usage.Beyond || latencies.Keep != "for ever" || latencies.Oldest == nil ||
				latencies.Beyond || trail.Keep != "9600h0m0s" || trail.Oldest == nil || len(kinds) != len(store.ExpiredKinds) {
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

			code, page, errs := command(t, nil, args...)
			for _, want := range []string{
				"Mode of the deployment: pseudonym", "fewer than 7 people", "Europe/Berlin", "should be gone", auditor.String(),
				"users: Users. A deleted user takes the place of an erased one.", "totals; without a link in subjects",
			} {
				if code != exitOK || !strings.Contains(page, want) {
					t.Errorf("%d %s: the page does not say %q:\n%s", code, errs, want, page)
				}
			}
		})
	}
}

package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

// Each item of a catalog is taken or rejected by name, and what is taken Postgres can keep.
func FuzzCatalog(f *testing.F) {
	id := wiretest.Agent
	f.Add(wiretest.Marshal(f, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: id, Name: "a"}, {Id: id, Name: "a\x00"}, {}},
		Templates:     []*insightsv1.Template{{Id: id, OrganizationId: id, Name: "a", Icon: "\x00", CreatedAt: timestamppb.Now()}},
		TemplateVersions: []*insightsv1.TemplateVersion{{Id: id, TemplateId: id, Name: "a", Parameters: []*insightsv1.Parameter{
			{Name: "a", Type: "string", DefaultValue: "\x00", Options: []*insightsv1.ParameterOption{{Name: "b"}}},
		}}},
		Users:   []*insightsv1.User{{Id: id, Username: "a", OrganizationIds: []string{id, ""}}},
		Deleted: &insightsv1.DeletedItems{Users: []string{id, "x"}},
	}))
	f.Add(wiretest.Marshal(f, &insightsv1.ApplyCatalogRequest{
		Apps:   []*insightsv1.App{{AgentId: id, Slug: strings.Repeat("a", 129)}},
		Agents: []*insightsv1.Agent{{Id: id, CreatedAt: &timestamppb.Timestamp{Nanos: -1}}},
	}))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.ApplyCatalogRequest
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		c := parseCatalog(&m)
		if c.items < len(c.rejected) {
			t.Fatalf("%d of %d items are rejected", len(c.rejected), c.items)
		}
		for _, r := range c.rejected {
			if r.GetReason() == "" || !r.GetPermanent() || r.GetList() == "" || !utf8.ValidString(r.GetReason()) ||
				len(r.GetReason()) > 500 {
				t.Errorf("rejection %v", r)
			}
		}
		kept, err := json.Marshal(c.catalog)
		if err != nil {
			t.Fatal(err)
		}
		var lists any
		if err := json.Unmarshal(kept, &lists); err != nil {
			t.Fatal(err)
		}
		wiretest.EachText(lists, func(text string) {
			if strings.Contains(text, "\x00") {
				t.Errorf("U+0000 is taken: %q", text)
			}
		})
	})
}

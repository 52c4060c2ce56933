package ingest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// unheard is a stream whose answers go nowhere.
type unheard struct {
	grpc.BidiStreamingServer[insightsv1.StreamStatsRequest, insightsv1.StreamStatsResponse]
}

func (unheard) Send(*insightsv1.StreamStatsResponse) error { return nil }

// BenchmarkReport is what the server does with a report apart from the network and the database: the message is decoded and
// checked, its rows go to the committer, which finds them durable, and the acknowledgement goes out.
func BenchmarkReport(b *testing.B) {
	now := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	st := storetest.Open(b, storetest.SQLite(b), now)
	organization, template, owner, workspace, agent := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	refused, err := st.ApplyCatalog(b.Context(), store.Catalog{
		Organizations: []store.Organization{{ID: organization, Name: "acme"}},
		Templates:     []store.Template{{ID: template, OrganizationID: organization, Name: "docker"}},
		Users:         []store.User{{ID: owner, Username: "alice", Kind: "human", Status: "active"}},
		Workspaces:    []store.Workspace{{ID: workspace, OwnerID: owner, TemplateID: template}},
		Agents:        []store.Agent{{ID: agent, WorkspaceID: workspace}},
	}, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refused) > 0 {
		b.Fatal(err, refused)
	}
	caller := access.Principal{Kind: access.KindAgent, ID: agent, Agent: agent}.With(access.Binding{Role: access.RoleAgent})
	message := func(at time.Time) []byte {
		report := wiretest.SessionAt(agent.String(), 1, at)
		report.ConnectionMedianLatencyMs, report.RxBytes, report.TxBytes = 20, 1000, 2000
		text, err := proto.Marshal(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}})
		if err != nil {
			b.Fatal(err)
		}
		return text
	}
	var minutes [][]byte
	for m := range 60 {
		minutes = append(minutes, message(now.Add(-time.Duration(59-m)*time.Minute)))
	}
	for _, c := range []struct {
		name     string
		messages [][]byte
	}{{"new minute", minutes}, {"repeat", minutes[59:]}} {
		b.Run(c.name, func(b *testing.B) {
			g, err := New(Options{
				Store: st, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return now },
				Registry: prometheus.NewRegistry(), MaxAge: 7 * 24 * time.Hour, MaxAhead: 5 * time.Minute, ReportInterval: time.Second,
				UsageStats: true,
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(b.Context())
			s := &agentStream{ingest: g, stream: unheard{}, ctx: ctx, failed: cancel, slots: make(chan struct{}, streamWindow)}
			take := func(text []byte) {
				var req insightsv1.StreamStatsRequest
				if err := proto.Unmarshal(text, &req); err != nil {
					b.Fatal(err)
				}
				if err := s.take(caller, req.GetReports()[0]); err != nil {
					b.Fatal(err)
				}
				select {
				case e := <-g.committers[0].queue:
					e.settle(nil)
				default: // a repeat, which is acknowledged at once
				}
			}
			take(c.messages[0])
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				if len(c.messages) > 1 && i%len(c.messages) == 0 {
					s.committed = nil // the minutes are new again
				}
				take(c.messages[i%len(c.messages)])
			}
			b.StopTimer()
			if n := len(s.pending); n > 0 {
				b.Errorf("%d reports are not settled", n)
			}
			s.Close()
			s.senders.Wait()
		})
	}
}

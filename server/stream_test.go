package server_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/ingest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// agentStreamOf opens a stream of one of the company's agents.
func agentStreamOf(t *testing.T, c *company, agent string) insightsv1.IngestService_StreamStatsClient {
	t.Helper()
	secrets, err := c.Store.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: uuid.MustParse(agent)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(servertest.As(context.Background(), secrets[0].Reveal()), time.Minute)
	t.Cleanup(cancel)
	stream, err := insightsv1.NewIngestServiceClient(c.Conn).StreamStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetReportInterval().AsDuration() != 30*time.Second {
		t.Fatal("first answer:", first, err)
	}
	return stream
}

func sendReports(t *testing.T, stream insightsv1.IngestService_StreamStatsClient, reports ...*insightsv1.AgentReport) {
	t.Helper()
	if err := stream.Send(&insightsv1.StreamStatsRequest{Reports: reports}); err != nil {
		t.Fatal(err)
	}
}

// settled reads answers until a sequence is settled and returns the rejections on the way.
func settled(t *testing.T, stream insightsv1.IngestService_StreamStatsClient, sequence uint64) (rejected []*insightsv1.StreamRejection) {
	t.Helper()
	for {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		rejected = append(rejected, answer.GetRejected()...)
		if answer.GetAcknowledgedSequence() >= sequence {
			return rejected
		}
	}
}

// minutes asks how long the company's person was active on a day.
func (c *company) minutes(t *testing.T, day time.Time) int64 {
	t.Helper()
	auditor := access.Principal{Kind: access.KindService, ID: uuid.New()}.With(access.Binding{Role: access.RoleAuditor})
	scope, err := access.Templates(auditor, access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	users, _, err := c.Store.UserActivity(t.Context(), scope, minute.People, minute.NewWindow(day, day.Add(24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, u := range users {
		n += u.Minutes
	}
	return n
}

// An agent has a few streams and no more; when one ends there is room again. Others do not notice, and a control plane has as
// many as its connections carry.
func TestStreamsOfOneAgent(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	var last insightsv1.IngestService_StreamStatsClient
	for range ingest.MaxAgentStreams {
		last = agentStreamOf(t, c, c.agents[0])
	}
	secrets, err := c.Store.CreateTokens(t.Context(), []store.Token{
		{PrincipalKind: access.KindAgent, PrincipalID: uuid.MustParse(c.agents[0])},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), secrets[0].Reveal()), time.Minute)
	defer cancel()
	another := func() error {
		stream, err := insightsv1.NewIngestServiceClient(c.Conn).StreamStats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		return err
	}
	if err := another(); status.Code(err) != codes.ResourceExhausted ||
		!slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok }) {
		t.Errorf("one stream more: %v", err)
	}
	agentStreamOf(t, c, c.agents[1])
	controlPlane := servertest.As(t.Context(), c.Token(t, access.RoleControlPlane, servertest.Everywhere))
	for range ingest.MaxAgentStreams + 1 {
		stream, err := insightsv1.NewIngestServiceClient(c.Conn).StreamStats(controlPlane)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("a stream of a control plane: %v", err)
		}
	}
	if err := last.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	wiretest.WaitFor(t, 10*time.Second, "room for another stream", func() bool { return another() == nil })
}

// What is acknowledged is in the answers at once.
func TestAcknowledgedIsAnswered(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	stream := agentStreamOf(t, c, c.agents[0])
	day := wiretest.Instant(t, "2023-03-27T00:00:00Z")
	for i := range 20 {
		sendReports(t, stream, wiretest.SessionAt(c.agents[0], uint64(i+1), day.Add(time.Duration(i)*time.Minute)))
		begin := time.Now()
		settled(t, stream, uint64(i+1))
		if got := c.minutes(t, day); got != int64(i+1) {
			t.Fatalf("after %d acknowledged minutes the answer has %d", i+1, got)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

func TestStreamRejects(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	now := c.Options.Clock()
	agent := c.agents[0]
	stream := agentStreamOf(t, c, agent)
	old, ahead, long, negative, name := wiretest.SessionAt(agent, 1, now.Add(-8*24*time.Hour)), wiretest.SessionAt(
		agent, 2, now.Add(6*time.Minute),
	), wiretest.SessionAt(agent, 3, now), wiretest.SessionAt(agent, 4, now), wiretest.SessionAt(agent, 6, now)
	long.Interval = durationpb.New(11 * time.Minute)
	negative.RxBytes = -1
	name.AgentVersion = strings.Repeat("v", 129)
	sendReports(t, stream, old, ahead, long, negative, wiretest.SessionAt(agent, 5, now), name)
	var got []string
	for _, r := range settled(t, stream, 6) {
		field, _, _ := strings.Cut(r.GetReason(), " ")
		got = append(got, fmt.Sprint(r.GetSequence(), " ", field, " ", r.GetPermanent()))
	}
	want := []string{"1 collected_at true", "2 collected_at true", "3 interval: true", "4 rx_bytes: true", "6 agent_version: true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rejections (-want +got):\n%s", diff)
	}
	sendReports(t, stream, wiretest.SessionAt(agent, 7, now), wiretest.SessionAt(agent, 7, now))
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := stream.Recv(); err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("a sequence that does not rise: %v", err)
			}
			break
		}
	}
}

func TestAgentReportsForItselfAlone(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	for name, agent := range map[string]string{"another agent": c.agents[1], "an agent that does not exist": uuid.NewString()} {
		stream := agentStreamOf(t, c, c.agents[0])
		sendReports(t, stream, wiretest.SessionAt(agent, 1, c.Options.Clock()))
		if _, err := stream.Recv(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a report for %s: %v", name, err)
		}
	}
}

// Messages up to their limit are taken, whatever is wrong within; one byte more ends the call.
func TestMessageSizes(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	controlPlane := c.Token(t, access.RoleControlPlane, servertest.Everywhere)
	sized := func(size int) *insightsv1.ReportStatsRequest {
		report := wiretest.SessionAt(c.agents[0], 1, c.Options.Clock())
		message := &insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{report}}
		report.DerpRegion = strings.Repeat("x", size-proto.Size(message)-4) // of its own key and length
		for proto.Size(message) < size {
			report.DerpRegion += "x"
		}
		for proto.Size(message) > size {
			report.DerpRegion = report.DerpRegion[1:]
		}
		return message
	}
	for _, size := range []int{ingest.MaxAgentMessage - 1, ingest.MaxAgentMessage, ingest.MaxAgentMessage + 1} {
		stream := agentStreamOf(t, c, c.agents[0])
		sendReports(t, stream, sized(size).GetReports()...)
		answer, err := stream.Recv()
		if fits := size <= ingest.MaxAgentMessage; fits != (err == nil) ||
			fits && !strings.HasPrefix(answer.GetRejected()[0].GetReason(), "derp_region: ") ||
			!fits && status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a message of an agent of %d bytes: %v, %v", size, answer, err)
		}
	}
	for _, size := range []int{call.MaxMessage - 1, call.MaxMessage, call.MaxMessage + 1} {
		answer, err := insightsv1.NewIngestServiceClient(c.Conn).ReportStats(servertest.As(t.Context(), controlPlane), sized(size))
		if fits := size <= call.MaxMessage; fits != (err == nil) ||
			fits && !strings.HasPrefix(answer.GetRejected()[0].GetReason(), "derp_region: ") ||
			!fits && status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a message of a control plane of %d bytes: %v, %v", size, answer, err)
		}
	}
}

// An agent that the catalog learns of later loses nothing; one whose workspace is gone is told for good.
func TestUnknownAndDeletedAgents(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	controlPlane := c.Token(t, access.RoleControlPlane, servertest.Everywhere)
	ingest := insightsv1.NewIngestServiceClient(c.Conn)
	agent, workspace := uuid.NewString(), uuid.NewString()
	report := &insightsv1.ReportStatsRequest{
		Reports: []*insightsv1.AgentReport{wiretest.SessionAt(agent, 1, c.Options.Clock().Add(time.Minute))},
	}
	answer := servertest.Must(t, ingest.ReportStats, controlPlane, report)
	if len(answer.GetRejected()) != 1 || answer.GetRejected()[0].GetPermanent() || answer.GetAcknowledged() != 0 {
		t.Errorf("unknown agent: %v", answer)
	}
	c.Apply(t, controlPlane, &insightsv1.ApplyCatalogRequest{
		Workspaces: []*insightsv1.Workspace{{Id: workspace, OwnerId: c.user, TemplateId: c.templates[0].String(), Name: "new"}},
		Agents:     []*insightsv1.Agent{{Id: agent, WorkspaceId: workspace, Name: "main"}},
	})
	if answer = servertest.Must(t, ingest.ReportStats, controlPlane, report); answer.GetAcknowledged() != 1 {
		t.Errorf("known agent: %v", answer)
	}
	c.Apply(t, controlPlane, &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Workspaces: []string{workspace}}})
	answer = servertest.Must(t, ingest.ReportStats, controlPlane, report)
	if len(answer.GetRejected()) != 1 || !answer.GetRejected()[0].GetPermanent() {
		t.Errorf("deleted workspace: %v", answer)
	}
}

// One report that the database refuses does not fail those it travels with.
func TestPoisonReport(t *testing.T) {
	t.Parallel()
	v := storetest.NewFixture(t, storetest.Postgres(t))
	db, err := sql.Open("pgx", v.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE usage_rows ADD CHECK (app <> 'poison')"); err != nil {
		t.Fatal(err)
	}
	r := run(t, v.Database, storetest.Now, nil)
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	var reports []*insightsv1.AgentReport
	for i := range 200 {
		report := wiretest.SessionAt(v.Agents[i%2][i%3].String(), 0, storetest.Now.Add(-time.Duration(i)*time.Minute))
		if i == 77 {
			report.SessionCounts = map[string]int64{"poison": 1}
		}
		reports = append(reports, report)
	}
	answer := servertest.Must(
		t, insightsv1.NewIngestServiceClient(r.Conn).ReportStats, controlPlane, &insightsv1.ReportStatsRequest{Reports: reports},
	)
	rejected := answer.GetRejected()
	if answer.GetAcknowledged() != 199 || len(rejected) != 1 || rejected[0].GetIndex() != 77 || !rejected[0].GetPermanent() {
		t.Errorf("answer: %d acknowledged, rejected %v", answer.GetAcknowledged(), rejected)
	}
}

// A server that stops tells its agents, acknowledges what it took, and does not wait for those that do not go.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, leaves := range map[string]bool{"agent leaves": true, "agent stays": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, storetest.SQLite(t))
			s, err := server.New(server.Options{
				Store: f.Store, Logger: servertest.WatchLog(t, f.Database), Clock: func() time.Time { return storetest.Now },
				GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0",
				IngestMaxAge: 24 * time.Hour, ReportInterval: 30 * time.Second, UsageStats: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			stopped := make(chan error, 1)
			go func() { stopped <- s.Run(ctx) }()
			conn, err := grpc.NewClient(s.GRPCAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := &company{running: &running{&servertest.Server{Server: s, Store: f.Store, Conn: conn}}}
			agent := f.Agents[0][0].String()
			stream := agentStreamOf(t, c, agent)
			for i := range 100 {
				sendReports(t, stream, wiretest.SessionAt(agent, uint64(i+1), storetest.Now.Add(-time.Duration(i)*time.Minute)))
			}
			settled(t, stream, 1)
			begin := time.Now()
			stop()
			drained := false
			for {
				answer, err := stream.Recv()
				if err != nil {
					if leaves && !errors.Is(err, io.EOF) {
						t.Errorf("stream ends with %v", err)
					}
					break
				}
				if answer.GetDrain() && !drained {
					drained = true
					if leaves {
						if err := stream.CloseSend(); err != nil {
							t.Error(err)
						}
					}
				}
			}
			if !drained {
				t.Error("the agent was not told")
			}
			if err := <-stopped; err != nil {
				t.Errorf("server: %v", err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := f.Ask(t).Activity[0].Minutes; got != 100 {
				t.Errorf("%d minutes are stored, want 100", got)
			}
		})
	}
}

package server_test

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// alarm is a log handler that rings when some background work is told of.
type alarm struct {
	slog.Handler
	doing string
	rings chan struct{}
}

func newAlarm(doing string) alarm { return alarm{slog.DiscardHandler, doing, make(chan struct{}, 1)} }

func (alarm) Enabled(context.Context, slog.Level) bool { return true }

func (a alarm) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(of slog.Attr) bool {
		if of.Key != "doing" || of.Value.String() != a.doing {
			return true
		}
		select {
		case a.rings <- struct{}{}:
		default: // it rings already
		}
		return false
	})
	return nil
}

// execute runs a statement past the server.
func execute(t *testing.T, database, statement string) {
	t.Helper()
	driver, dsn := "pgx", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// While the database fails nothing is acknowledged; when it works again everything is, without being sent again.
func TestNothingIsAcknowledgedBeforeItsCommit(t *testing.T) {
	t.Parallel()
	for name, open := range servertest.Databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			failed := newAlarm("commit usage rows")
			c := &company{running: run(t, f.Database, storetest.Now, func(c *server.Options) { c.Logger = slog.New(failed) })}
			agent := f.Agents[0][0].String()
			stream := agentStreamOf(t, c, agent)
			execute(t, f.Database, "ALTER TABLE usage_rows RENAME TO gone")
			sendReports(t, stream, wiretest.SessionAt(agent, 1, storetest.Now))
			select {
			case <-failed.rings:
			case <-stream.Context().Done():
				t.Fatal("no commit failed")
			}
			// A rejection is answered at once and says what is acknowledged so far.
			sendReports(t, stream, wiretest.SessionAt(agent, 2, storetest.Now.AddDate(-1, 0, 0)))
			answer, err := stream.Recv()
			if err != nil || len(answer.GetRejected()) != 1 || answer.GetAcknowledgedSequence() != 0 {
				t.Errorf("before the commit: %v, %v", answer, err)
			}
			execute(t, f.Database, "ALTER TABLE gone RENAME TO usage_rows")
			settled(t, stream, 2)
			if got := c.minutes(t, storetest.Now.Truncate(24*time.Hour)); got != 1 {
				t.Errorf("%d minutes are stored, want 1", got)
			}
		})
	}
}

// What a stream remembers saves writing, but never a bit that is new: a connection that is seen late opens the gate.
func TestStreamRemembersOnlyWhatIsStored(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	c := &company{running: run(t, f.Database, storetest.Now, nil)}
	agent, day := f.Agents[0][0].String(), storetest.Now.Truncate(24*time.Hour)
	stream := agentStreamOf(t, c, agent)
	for i, step := range []struct {
		at          time.Time
		connections int64
		want        int64
	}{
		{storetest.Now, 0, 0}, // behind the gate
		{storetest.Now, 1, 1},
		{storetest.Now, 1, 1},
		{storetest.Now, 0, 1},
		{storetest.Now.Add(time.Minute), 0, 2},
		{storetest.Now.Add(-time.Hour), 1, 3},
		{storetest.Now.Add(-time.Hour + time.Minute), 0, 4}, // an older half hour
		{storetest.Now.Add(2 * time.Minute), 0, 5},
	} {
		report := wiretest.SessionAt(agent, uint64(i+1), step.at)
		report.ConnectionCount = step.connections
		sendReports(t, stream, report)
		settled(t, stream, uint64(i+1))
		if got := c.minutes(t, day); got != step.want {
			t.Errorf("after report %d: %d minutes, want %d", i+1, got, step.want)
		}
	}
}

// Who may not send cannot open a stream, and the access rule is that of every message on it: a role that is taken back ends
// it, whatever the message holds.
func TestStreamFollowsItsRoles(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	member, end := context.WithTimeout(servertest.As(t.Context(), r.Token(t, access.RoleMember, servertest.Everywhere)), time.Minute)
	defer end()
	closed, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(member)
	if err == nil {
		_, err = closed.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stream of a member: %v", err)
	}
	id := uuid.New()
	binding, err := r.Store.GrantRole(t.Context(), store.RoleBinding{
		PrincipalKind: access.KindService, PrincipalID: id, Role: access.RoleControlPlane,
	})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := r.Store.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindService, PrincipalID: id}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), secrets[0].Reveal()), time.Minute)
	defer cancel()
	stream, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		ended <- err
	}()
	if err := r.Store.RevokeRole(t.Context(), binding.ID); err != nil {
		t.Fatal(err)
	}
	wiretest.WaitFor(t, 10*time.Second, "a stream without a role to end", func() bool {
		_ = stream.Send(&insightsv1.StreamStatsRequest{}) // fails once it has ended
		select {
		case err := <-ended:
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("the stream ends with %v", err)
			}
			return true
		default:
			return false
		}
	})
}

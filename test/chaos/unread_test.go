package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

const (
	unreadUsers  = 13_000 // with pictures whose addresses are as long as they may be: an answer about them has 16 MB
	unreadMemory = 150    // MiB above what the server takes before
)

// largeAnswer is a server that has an answer of 16 MB.
type largeAnswer struct {
	*process
	fleet      *fleet
	tokens     []string // of those who may ask for it
	before     int      // MiB that the server takes before anybody asks
	start, end string   // of the day that it is about
}

// withLargeAnswer runs a test with a server that one principal asks, and with one that twenty ask.
func withLargeAnswer(t *testing.T, test func(*testing.T, largeAnswer)) {
	t.Parallel()
	for name, askers := range map[string]int{"of one principal": 1, "of many principals": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, storetest.SQLite(t), 1)
			tokens := addLargeAnswer(t, f, askers)
			p := startServer(t, newServerConfig(t, f.database))
			p.awaitReady(t, true)
			f.mustAsk(t, p.GRPC)
			before, _ := p.memory()
			day := time.Now().UTC().Truncate(24 * time.Hour)
			test(t, largeAnswer{p, f, tokens, before, day.AddDate(0, 0, -1).Format(time.RFC3339), day.Format(time.RFC3339)})
			p.stop(t)
		})
	}
}

// Whoever asks over many connections for answers of 16 MB and reads none of them takes little memory, and small questions of others
// are answered meanwhile. Who reads nothing is cut, and then there is room for large answers again.
func TestUnreadAnswers(t *testing.T) {
	withLargeAnswer(t, func(t *testing.T, p largeAnswer) {
		query := fmt.Sprintf("?start_time=%s&end_time=%s", p.start, p.end)
		questions := []string{"/api/v2/insights/user-activity" + query, "/api/v2/insights/export/user-activity" + query}
		for i := range *unread {
			conn, err := net.Dial("tcp", p.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			if _, err := fmt.Fprintf(
				conn, "GET %s HTTP/1.1\r\nHost: insights\r\nAuthorization: Bearer %s\r\n\r\n", questions[i%2], p.tokens[i%len(p.tokens)],
			); err != nil {
				t.Fatal(err)
			}
		}
		requests := func() float64 { return p.metric(t, "coderd_api_concurrent_requests") }
		await(t, "answers that nobody reads", func() bool { return requests() > 0 })
		awaitWithin(t, 2*patience, "the end of those that nobody reads", func() bool {
			p.fleet.mustAsk(t, p.GRPC)
			return requests() == 0
		})
		p.wantMemory(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, question := range questions {
			wantLargeAnswer(ctx, t, "http://"+p.HTTP+question, p.tokens[0])
		}
	})
}

// The same over gRPC: who never opens the window of an answer, and answers everything that keeps a connection alive, is cut as well.
func TestUnreadAnswersOverGRPC(t *testing.T) {
	withLargeAnswer(t, func(t *testing.T, p largeAnswer) {
		question := &insightsv1.GetUserActivityRequest{StartTime: p.start, EndTime: p.end}
		var calls []*wiretest.UnreadCall
		for i := range *unread {
			calls = append(calls, wiretest.CallUnread(
				t, p.GRPC, insightsv1.InsightsService_GetUserActivity_FullMethodName, p.tokens[i%len(p.tokens)], question,
			))
		}
		awaitWithin(t, 2*patience, "the end of calls whose answers nobody reads", func() bool {
			p.fleet.mustAsk(t, p.GRPC)
			return !slices.ContainsFunc(calls, func(c *wiretest.UnreadCall) bool {
				select {
				case <-c.Ended:
					return false
				default:
					return true
				}
			})
		})
		p.wantMemory(t)
		conn, err := grpc.NewClient(
			p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)),
		)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+p.tokens[0])
		await(t, "an answer for who reads", func() bool {
			answer, err := insightsv1.NewInsightsServiceClient(conn).GetUserActivity(ctx, question)
			t.Log(proto.Size(answer), "bytes", err)
			return proto.Size(answer) > 13_000_000
		})
	})
}

// wantMemory fails if the server took more than it may.
func (p largeAnswer) wantMemory(t *testing.T) {
	t.Helper()
	_, most := p.memory()
	t.Logf("%d sockets: %d MiB before, %d MiB at most", *unread, p.before, most)
	limit := unreadMemory
	if raceEnabled {
		limit *= 4 // the race detector has its own memory
	}
	if most > p.before+limit {
		t.Errorf("%d MiB more than before, want at most %d", most-p.before, limit)
	}
}

// addLargeAnswer adds users of yesterday about whom there is much to say, and returns tokens of so many who may ask about them.
func addLargeAnswer(t *testing.T, f *fleet, askers int) (tokens []string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: f.database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all := store.Authority{Organization: func(uuid.UUID) bool { return true }}
	var users []store.User
	for i := range unreadUsers {
		users = append(users, store.User{
			ID: uuid.New(), Username: fmt.Sprint("large", i), Kind: "human", Status: "active",
			AvatarURL: "https://example.com/" + strings.Repeat("a", 1000),
		})
	}
	if refusals, err := s.ApplyCatalog(t.Context(), store.Catalog{Users: users}, all); err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	db := openTables(t, f.database)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "INSERT INTO people (user_id, person) SELECT id, row_number() OVER () FROM users")
	if err != nil {
		t.Fatal(err)
	}
	var template uuid.UUID
	each(t, db, "SELECT id FROM templates", func(scan func(...any) error) error { return scan(&template) })
	var rows []store.OpenRow
	yesterday := int32(time.Now().Unix()/86400-1) * minute.HalfHoursPerDay
	each(t, db, "SELECT person FROM people", func(scan func(...any) error) error {
		row := minute.Row{HalfHour: yesterday, Kind: minute.Session, App: "vscode", Minutes: 1, Connected: true}
		var person int64
		err := scan(&person)
		row.Subject = minute.SubjectOf(person, 0)
		rows = append(rows, store.OpenRow{Template: template, Row: row})
		return err
	})
	if err := s.Merge(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	var wanted []store.Token
	for range askers {
		id := uuid.New()
		if _, err := s.GrantRole(t.Context(), store.RoleBinding{
			PrincipalKind: access.KindService, PrincipalID: id, Role: access.RoleAuditor,
		}); err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, store.Token{Name: "asker", PrincipalKind: access.KindService, PrincipalID: id})
	}
	secrets, err := s.CreateTokens(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		tokens = append(tokens, secret.Reveal())
	}
	return tokens
}

// wantLargeAnswer asks as one who reads.
func wantLargeAnswer(ctx context.Context, t *testing.T, address, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept-Encoding", "identity")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || len(text) < 13_000_000 {
		t.Errorf("%s with %d bytes and %v, want all of it: %.300s", answer.Status, len(text), err, text)
	}
}

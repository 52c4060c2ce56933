package server_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// eraseOverREST erases a user and returns the status.
func (r *running) eraseOverREST(t *testing.T, token, user string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+r.HTTPAddress()+"/api/v2/privacy/users/"+user, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Coder-Session-Token", token)
	code, _, _ := servertest.Exchange(t, req)
	return code
}

// An erased user is gone from the memory of all servers of the database and from what they show, is not in the trail, and everything
// that comes about them is turned away for ever.
func TestEraseUser(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			collect := func(c *server.Options) { c.CollectAgentStats = true }
			p := newPatient(t, open(t), collect)
			other := &patient{Fixture: p.Fixture, running: run(t, p.Database, storetest.Now, collect), controlPlane: p.controlPlane}
			user := p.Users[0].String()
			own := p.Issue(t, store.Token{PrincipalKind: access.KindUser, PrincipalID: p.Users[0]}).Reveal()
			report := p.session(0, before(0, 1), nil)
			session := &insightsv1.AppSession{
				AgentId: p.Agents[0][1].String(), UserId: user, AccessMethod: "path", SlugOrPort: "wiki", StartedAt: before(0, 2),
				EndedAt: before(0, 1),
			}
			pages := func() (all string) {
				for _, s := range []*patient{p, other} {
					_, body := s.Scrape(t, "text/plain")
					all += body
				}
				return all
			}
			for _, s := range []*patient{p, other} {
				s.send(t, report)
				servertest.Must(
					t, insightsv1.NewIngestServiceClient(s.Conn).ReportAppSessions, p.controlPlane,
					&insightsv1.ReportAppSessionsRequest{Sessions: []*insightsv1.AppSession{session}},
				)
				if err := s.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "metrics of agents and workspaces", func() bool { return strings.Count(pages(), `username="user0"`) > 20 })
			catalog := &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user, Username: "user0"}}}

			if code := p.eraseOverREST(t, p.owner, uuid.NewString()); code != http.StatusNotFound {
				t.Errorf("erasing nobody: %d", code)
			}
			if code := p.eraseOverREST(t, p.owner, "user0"); code != http.StatusBadRequest {
				t.Errorf("erasing what is no id: %d", code)
			}
			for range 2 {
				if code := p.eraseOverREST(t, p.owner, user); code != http.StatusOK {
					t.Fatalf("erasing: %d", code)
				}
			}
			events := p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{})
			if !cmp.Equal(events, []string{"EraseUser {}", "EraseUser {}", "EraseUser {}", "EraseUser {}"}) {
				t.Errorf("audit trail: %q", events)
			}
			eventually(t, "forget the user", func() bool { return !strings.Contains(pages(), "user0") })
			_, err := insightsv1.NewAccessServiceClient(p.Conn).WhoAmI(servertest.As(t.Context(), own), &insightsv1.WhoAmIRequest{})
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("the token of the user: %v", err)
			}
			confined := p.Token(t, access.RoleControlPlane, p.Organization)
			for name, s := range map[string]*patient{"own": p, "other": other} {
				ingest := insightsv1.NewIngestServiceClient(s.Conn)
				stats := &insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{report}}
				event := func(e *insightsv1.Event) *insightsv1.ReportEventsRequest {
					e.At = before(0, 1)
					return &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{e}}
				}
				for what, rejected := range map[string][]*insightsv1.Rejection{
					"report": servertest.Must(t, ingest.ReportStats, p.controlPlane, stats).GetRejected(),
					"session": servertest.Must(t, ingest.ReportAppSessions, p.controlPlane, &insightsv1.ReportAppSessionsRequest{
						Sessions: []*insightsv1.AppSession{session},
					}).GetRejected(),
					"login": servertest.Must(
						t, ingest.ReportEvents, p.controlPlane,
						event(&insightsv1.Event{Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: user}}}),
					).GetRejected(),
					"status": servertest.Must(t, ingest.ReportEvents, p.controlPlane,
						event(&insightsv1.Event{Kind: &insightsv1.Event_UserStatus{
							UserStatus: &insightsv1.UserStatusEvent{UserId: user, Status: "active"},
						}})).GetRejected(),
					"build": servertest.Must(t, ingest.ReportEvents, p.controlPlane,
						event(&insightsv1.Event{Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
							Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][0].String(), TemplateVersionId: p.version, Number: 1,
							Transition: "start", Status: "pending", CreatedAt: before(0, 1),
						}}})).GetRejected(),
					"catalog": servertest.Must(
						t, insightsv1.NewCatalogServiceClient(s.Conn).ApplyCatalog, p.controlPlane, catalog,
					).GetRejected(),
				} {
					if len(rejected) != 1 || !rejected[0].GetPermanent() || rejected[0].GetReason() != "the user was erased" {
						t.Errorf("%s server, %s: %v", name, what, rejected)
					}
				}
				r := servertest.Must(t, ingest.ReportStats, confined, stats).GetRejected()
				if len(r) != 1 || r[0].GetPermanent() || !strings.HasSuffix(r[0].GetReason(), "is not in the catalog") {
					t.Errorf("%s server, to who is confined: %v", name, r)
				}
			}
		})
	}
}

// Without a key nobody is erased, and the error says what is missing.
func TestEraseUserNeedsKey(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), func(c *server.Options) {
		keyless, err := store.Open(t.Context(), store.Options{Database: "sqlite:" + strings.TrimPrefix(c.Store.String(), "sqlite file ")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := keyless.Close(); err != nil {
				t.Error(err)
			}
		})
		c.Store = keyless
	})
	_, err := insightsv1.NewPrivacyServiceClient(p.Conn).EraseUser(
		servertest.As(t.Context(), p.owner), &insightsv1.EraseUserRequest{UserId: p.Users[0].String()},
	)
	if got := status.Convert(err); got.Code() != codes.FailedPrecondition || !strings.Contains(got.String(), "--privacy-key-file") {
		t.Errorf("erasing without a key: %v", err)
	}
}

// linesWith takes lines that hold certain words, as far as it has room.
type linesWith struct {
	words string
	found chan string
}

func (l linesWith) Write(line []byte) (int, error) {
	if strings.Contains(string(line), l.words) {
		select {
		case l.found <- string(line):
		default:
		}
	}
	return len(line), nil
}

// A server that cannot write the list of the erased says so at its start, erases nobody, and yet forgets whom others erase. The list has
// everybody when it can be written again.
func TestEraseUserNeedsList(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "missing")
	list := filepath.Join(folder, "erased")
	warnings := linesWith{"can erase nobody", make(chan string, 1)}
	p := newPatient(t, storetest.Postgres(t), nil)
	mute := &patient{Fixture: p.Fixture, controlPlane: p.controlPlane}
	mute.running = run(t, p.Database, storetest.Now, func(c *server.Options) {
		s, err := store.Open(t.Context(), store.Options{
			Database: p.Database, PrivacyKey: storetest.PrivacyKey(t, p.Database), ErasedList: list,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		c.Store, c.Logger = s, slog.New(slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	ready := func(s *patient) bool {
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, page := s.Scrape(t, "text/plain")
		return strings.Contains(page, "\ninsights_erasure_ready 1\n")
	}
	if !ready(p) || ready(mute) {
		t.Error("metrics do not tell which server can erase somebody")
	}
	if said := <-warnings.found; !strings.Contains(said, "--erased-list") {
		t.Errorf("at its start it says %q", said)
	}
	erase := func(s *patient, user int) error {
		_, err := insightsv1.NewPrivacyServiceClient(s.Conn).EraseUser(
			servertest.As(t.Context(), s.owner), &insightsv1.EraseUserRequest{UserId: p.Users[user].String()},
		)
		return err
	}
	mute.owner = p.owner
	if got := status.Convert(erase(mute, 0)); got.Code() != codes.FailedPrecondition || !strings.Contains(got.String(), "--erased-list") {
		t.Errorf("erasing without a list: %v", got)
	}
	mute.send(t, p.session(0, before(0, 1), nil))
	if err := erase(p, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "forget the user", func() bool {
		r := servertest.Must(t, insightsv1.NewIngestServiceClient(mute.Conn).ReportStats, p.controlPlane, &insightsv1.ReportStatsRequest{
			Reports: []*insightsv1.AgentReport{p.session(0, before(0, 1), nil)},
		}).GetRejected()
		return len(r) == 1 && r[0].GetReason() == "the user was erased"
	})
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if !ready(mute) {
		t.Error("it can write the list, and does not say so")
	}
	written, err := os.ReadFile(list)
	if err != nil || len(strings.Fields(string(written))) < 3 { // the person, the pseudonym, and the mark of the key
		t.Errorf("the list: %q, %v", written, err)
	}
	if err := erase(mute, 1); err != nil {
		t.Errorf("erasing with a list: %v", err)
	}
	if written, err = os.ReadFile(list); err != nil {
		t.Fatal(err)
	}
	if err := erase(p, 2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "add to the list whom another server erased", func() bool {
		now, err := os.ReadFile(list)
		return err == nil && len(now) > len(written)
	})
}

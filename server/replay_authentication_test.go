package server_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Who steals the database has no token that lets them in, however it is written.
func TestDatabaseHoldsNoToken(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	first, err := storetest.Open(t, database, storetest.Now).FirstToken(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	f := storetest.NewFixture(t, database)
	r := run(t, database, storetest.Now, nil)
	admin := insightsv1.NewAccessServiceClient(r.Conn)
	tokens := []string{first.Reveal(), r.Token(t, access.RoleProxy, servertest.Everywhere)}
	for kind, id := range map[string]string{"user": f.Users[0].String(), "service": uuid.NewString(), "agent": f.Agents[0][0].String()} {
		req := &insightsv1.CreateTokenRequest{Principal: &insightsv1.Principal{Kind: kind, Id: id}, Name: "n"}
		tokens = append(tokens, servertest.Must(t, admin.CreateToken, first.Reveal(), req).GetSecret())
	}
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	for _, made := range servertest.Must(t, admin.CreateAgentTokens, controlPlane, &insightsv1.CreateAgentTokensRequest{
		AgentIds: call.Texts(f.Agents[1][:]),
	}).GetTokens() {
		tokens = append(tokens, made.GetSecret())
	}
	tokens = append(tokens, controlPlane)
	for _, token := range tokens { // all are used, and one of them is refused something
		servertest.Must(t, admin.WhoAmI, token, &insightsv1.WhoAmIRequest{})
		_ = codeOf(t, admin.ListAuditEvents, token, &insightsv1.ListAuditEventsRequest{})
	}
	path := strings.TrimPrefix(database, "sqlite:")
	var dump []byte
	for _, file := range []string{path, path + "-wal"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, text...)
	}
	if found := servertest.FindSecret(dump, ""); found != "" {
		t.Errorf("the database holds %s", found)
	}
	for _, token := range tokens {
		known, err := access.ParseToken(token)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(dump, []byte(known.ID())) || !bytes.Contains(dump, known.Hash()) {
			t.Errorf("the dump is not one of the database: it lacks the token %s", known)
		}
		for _, whole := range []string{token, token[len(token)-52:], known.ID() + "_" + token[len(token)-52:]} {
			for form, text := range encodings(whole) {
				if bytes.Contains(dump, []byte(text)) {
					t.Errorf("the database holds the token %s as %s", known, form)
				}
			}
		}
	}
}

// encodings are how a secret may be written.
func encodings(secret string) map[string]string {
	forms := map[string]string{
		"text": secret, "hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"backwards": string(func() []byte { b := []byte(secret); slices.Reverse(b); return b }()),
	}
	for offset := range 3 { // the encoding of a longer text holds one of these
		part := secret[offset:]
		part = part[:len(part)/3*3]
		forms[fmt.Sprint("base64 from ", offset)] = base64.StdEncoding.EncodeToString([]byte(part))
		forms[fmt.Sprint("base64 for URLs from ", offset)] = base64.URLEncoding.EncodeToString([]byte(part))
	}
	return forms
}

// A call shows one credential. With two of them nobody is let in, whichever comes first and whichever is good: what one part
// of the way reads may not be what another one does.
func TestTwoCredentials(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	good, other, bad := r.Token(t, access.RoleOwner, servertest.Everywhere), r.Token(t, access.RoleMember, servertest.Everywhere),
		access.NewToken().Reveal()
	forms := map[string]string{"Authorization": "Bearer ", "Coder-Session-Token": "", "Session-Token": ""}
	pairs := 0
	for first, prefix := range forms {
		for second, secondPrefix := range forms {
			for _, tokens := range [][2]string{
				{good, good}, {good, other}, {good, bad}, {bad, good}, {good, ""}, {"", good}, {good, "\u00e9"}, {"\u00e9", good},
			} {
				pairs++
				one, two := prefix+tokens[0], secondPrefix+tokens[1]
				what := fmt.Sprintf("%s %.14q and %s %.14q", first, one, second, two)
				code, text := raw(t, r.HTTPAddress(), "GET /api/v2/access/me HTTP/1.1", first+": "+one, second+": "+two)
				if code != http.StatusUnauthorized && code != http.StatusBadRequest {
					t.Errorf("%s over REST: %d %s", what, code, text)
				}
				if strings.Contains(one+two, "\u00e9") {
					continue // no gRPC client sends it
				}
				ctx := metadata.AppendToOutgoingContext(t.Context(), strings.ToLower(first), one, strings.ToLower(second), two)
				_, err := insightsv1.NewAccessServiceClient(r.Conn).WhoAmI(ctx, &insightsv1.WhoAmIRequest{})
				if status.Code(err) != codes.Unauthenticated {
					t.Errorf("%s over gRPC: %v", what, err)
				}
			}
		}
	}
	t.Logf("%d pairs", pairs)
	// What the gateway library would turn into the same metadata is no credential at all, beside one or alone.
	for name, lines := range map[string][]string{
		"before": {"Grpc-Metadata-Authorization: Bearer " + good, "Authorization: Bearer " + other},
		"after":  {"Authorization: Bearer " + other, "Grpc-Metadata-Authorization: Bearer " + good},
	} {
		for range 20 { // the order in which the library sees them is left to chance
			if code, text := raw(t, r.HTTPAddress(), "GET /api/v2/access/role-bindings HTTP/1.1", lines...); code != http.StatusForbidden {
				t.Fatalf("another credential as metadata, %s: %d %s", name, code, text)
			}
		}
	}
}

// raw sends a call over HTTP byte by byte as given, and returns the status and the body. What begins with an empty line among the
// headers is the body.
func raw(t *testing.T, address, request string, headers ...string) (status int, text string) {
	t.Helper()
	status, _, text = rawWithHeader(t, address, request, headers...)
	return status, text
}

func rawWithHeader(t *testing.T, address, request string, headers ...string) (status int, header http.Header, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines, body := []string{request, "Host: insights.example", "Connection: close"}, ""
	for _, h := range headers {
		if content, ok := strings.CutPrefix(h, "\r\n"); ok {
			h, body = fmt.Sprint("Content-Length: ", len(content)), content
		}
		lines = append(lines, h)
	}
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	verb, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: verb})
	if err != nil {
		t.Fatalf("%.200q %.200q: %v", request, headers, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

// Guessing tokens keeps nobody out: neither the agents nor the one whose token's public part is known.
func TestGuessingTokensLocksNobodyOut(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *server.Options) { c.RateLimit = 1000 })
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}})
	if err != nil {
		t.Fatal(err)
	}
	token := secrets[0].Reveal()
	public := token[:len(token)-52]
	stream := r.streamReporter(t, token, "")
	if err := stream.report(t.Context()); err != nil {
		t.Fatal(err)
	}
	guess := func() string {
		fresh := access.NewToken().Reveal()
		return public + fresh[len(fresh)-52:]
	}
	const guessers, guesses = 4, 150
	var wrong sync.WaitGroup
	var left atomic.Int32
	left.Store(guessers)
	for n := range guessers {
		wrong.Go(func() {
			defer left.Add(-1)
			for range guesses {
				shown := guess()
				if n%2 == 0 {
					shown = access.NewToken().Reveal()
				}
				_, err := insightsv1.NewAccessServiceClient(r.Conn).WhoAmI(servertest.As(t.Context(), shown), &insightsv1.WhoAmIRequest{})
				if status.Code(err) != codes.Unauthenticated {
					t.Errorf("a guess: %v", err)
				}
			}
		})
	}
	reports := 0
	for left.Load() > 0 {
		if err := stream.report(t.Context()); err != nil {
			t.Fatalf("after %d reports: %v", reports, err)
		}
		servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).WhoAmI, token, &insightsv1.WhoAmIRequest{})
		reports++
	}
	wrong.Wait()
	t.Logf("%d reports were taken beside %d guesses", reports, guessers*guesses)
	if reports == 0 {
		t.Error("no report was taken meanwhile")
	}
}

// A token that is made for somebody without rights gives none (GHSA-3rw9-wmc8-8948).
func TestTokensOfTheSuspendedAndGone(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	owner, admin := r.Token(t, access.RoleOwner, servertest.Everywhere), insightsv1.NewAccessServiceClient(r.Conn)
	r.Apply(t, owner, &insightsv1.ApplyCatalogRequest{
		Users:   []*insightsv1.User{{Id: f.Users[0].String(), Username: "x", Status: "suspended"}},
		Deleted: &insightsv1.DeletedItems{Users: []string{f.Users[1].String()}, Agents: []string{f.Agents[0][0].String()}},
	})
	for name, who := range map[string]*insightsv1.Principal{
		"suspended user": {Kind: "user", Id: f.Users[0].String()}, "deleted user": {Kind: "user", Id: f.Users[1].String()},
		"deleted agent": {Kind: "agent", Id: f.Agents[0][0].String()},
	} {
		if who.GetKind() == "user" {
			servertest.Must(t, admin.GrantRole, owner, &insightsv1.GrantRoleRequest{Principal: who, Role: "owner"})
		}
		token := servertest.Must(t, admin.CreateToken, owner, &insightsv1.CreateTokenRequest{Principal: who}).GetSecret()
		if got := codeOf(t, admin.WhoAmI, token, &insightsv1.WhoAmIRequest{}); got != codes.Unauthenticated {
			t.Errorf("%s: %v", name, got)
		}
	}
}

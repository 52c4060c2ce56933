package server_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/metadata"

	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

var (
	// secretForms are what must never be written down: whole tokens, and JSON web tokens, which begin with {" in base64.
	secretForms = regexp.MustCompile(`tia_[a-z2-7]{10}_[a-z2-7]{52}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}`)
	// encodedForms are long enough to hold a token in base64.
	encodedForms = regexp.MustCompile(`[A-Za-z0-9+/_-]{88,}`)
)

// findSecret finds a secret in a text: the password of the database, or one of the forms above, in base64 too. It is empty if
// there is none.
func findSecret(text []byte, password string) string {
	if password != "" && bytes.Contains(text, []byte(password)) {
		return password
	}
	if found := secretForms.Find(text); found != nil {
		return string(found)
	}
	for _, run := range encodedForms.FindAll(text, -1) {
		for offset := range 4 { // where the encoding begins is not known
			if found := secretForms.Find(decodePart(run[offset:])); found != nil {
				return string(found)
			}
		}
	}
	return ""
}

// decodePart decodes base64 of either alphabet as far as it goes.
func decodePart(run []byte) []byte {
	decoded, _ := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(string(run)))
	return decoded
}

// watchedLog takes the log of a server at debug level, one line at a time: warnings go on to the test's output, and a line
// with a secret is told of.
type watchedLog struct {
	password string
	warnings io.Writer
	leaked   func(line, secret string)
}

// Write implements [io.Writer].
func (w watchedLog) Write(line []byte) (int, error) {
	if secret := findSecret(line, w.password); secret != "" {
		w.leaked(string(line), secret)
	}
	if bytes.Contains(line, []byte(" level=WARN ")) || bytes.Contains(line, []byte(" level=ERROR ")) {
		return w.warnings.Write(line)
	}
	return len(line), nil
}

// watchLog returns the logger of a server in a test, which fails when a secret is logged. What is logged goes to the other
// writers as well.
func watchLog(t testing.TB, database string, others ...io.Writer) *slog.Logger {
	watched := watchedLog{passwordOf(database), t.Output(), func(line, secret string) { t.Errorf("the log holds the secret %s: %s", secret, line) }}
	return slog.New(slog.NewTextHandler(io.MultiWriter(append(others, watched)...), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// passwordOf is the password in the name of a database.
func passwordOf(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// logBuffer keeps what a server logs.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
}

// Write implements [io.Writer].
func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, string(line))
	return len(line), nil
}

// all is what was logged so far.
func (b *logBuffer) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines)
}

// What watches the logs of all servers in tests finds what it is to find, however it gets there.
func TestWatchedLogFindsSecrets(t *testing.T) {
	t.Parallel()
	database := "postgres://postgres:hunter2@127.0.0.1:5432/insights"
	secret := access.NewToken().Reveal()
	jwt := wiretest.Sign(t, jose.HS256, make([]byte, 32), map[string]any{"sub": "x", "exp": 1})
	for name, c := range map[string]struct {
		write func(*slog.Logger)
		want  string
	}{
		"a token in a message": {func(l *slog.Logger) { l.Debug("token " + secret) }, secret}, //nolint:sloglint // a planted fault
		"a token as a value":   {func(l *slog.Logger) { l.Debug("call", "token", secret) }, secret},
		"a token in a group":   {func(l *slog.Logger) { l.WithGroup("g").Info("call", "header", []string{"Bearer " + secret}) }, secret},
		"a token in an error":  {func(l *slog.Logger) { l.Error("call", "error", fmt.Errorf("look up %q", secret)) }, secret},
		"a token in base64":    {func(l *slog.Logger) { l.Debug("call", "raw", base64.StdEncoding.EncodeToString([]byte(secret))) }, secret},
		"a token further on in base64": {func(l *slog.Logger) {
			l.Debug("call", "raw", "x"+base64.RawURLEncoding.EncodeToString([]byte("Bearer "+secret+" ")))
		}, secret},
		"the metadata of a call": {func(l *slog.Logger) {
			l.Debug("call", "metadata", map[string][]string(metadata.Pairs("authorization", "Bearer "+secret)))
		}, secret}, // GHSA-xr7q-jx4m-x55m
		"a JSON web token":             {func(l *slog.Logger) { l.Debug("call", "token", jwt) }, jwt},
		"the password of the database": {func(l *slog.Logger) { l.Warn("open", "database", database) }, "hunter2"},
		"the id of a token":            {func(l *slog.Logger) { l.Debug("call", "token", strings.Split(secret, "_")[1]) }, ""},
		"a token that hides itself":    {func(l *slog.Logger) { l.Debug("call", "token", access.NewToken()) }, ""},
		"ordinary words":               {func(l *slog.Logger) { l.Warn("health changed", "healthy", true) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found string
			var warnings bytes.Buffer
			watched := watchedLog{passwordOf(database), &warnings, func(_, secret string) { found = secret }}
			c.write(slog.New(slog.NewTextHandler(watched, &slog.HandlerOptions{Level: slog.LevelDebug})))
			if found != c.want {
				t.Errorf("found %q, want %q", found, c.want)
			}
			loud := strings.Contains(name, "password") || strings.Contains(name, "ordinary") || strings.Contains(name, "error")
			if (warnings.Len() > 0) != loud {
				t.Errorf("warnings: %q", warnings.String())
			}
		})
	}
}

// The databases of the tests have a password where they can, so that it can be looked for.
func TestDatabasesHavePasswords(t *testing.T) {
	t.Parallel()
	if passwordOf(storetest.Postgres(t)) == "" {
		t.Error("the URL of Postgres has no password")
	}
}

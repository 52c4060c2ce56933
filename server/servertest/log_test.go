package servertest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/metadata"

	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

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
		"a token in base64": {
			func(l *slog.Logger) { l.Debug("call", "raw", base64.StdEncoding.EncodeToString([]byte(secret))) }, secret,
		},
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

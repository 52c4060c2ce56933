package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/template-insights/insights/store/storetest"
)

// A check says all that is wrong at once, and leaves nothing behind.
func TestServeCheck(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	fresh := "--database=sqlite:" + filepath.Join(folder, "new.db")
	weak := storetest.Postgres(t) + "&synchronous_commit=off"
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"nothing": {[]string{fresh}, exitOK, []string{"Nothing would keep the server from starting."}},
		"many things": {
			[]string{
				"--database=sqlite:/gone/new.db", "--privacy-key-file=/gone/key", "--timezone=Mars", "--tls-cert=x",
				"--prometheus-token-file=/gone/token", "--pprof-address=0.0.0.0:0", "--definitions=/gone/definitions",
				"--external-url=https://a/b", "--auth-coder-url=http://coder.example.com", "--prometheus-aggregate-agent-stats-by=color",
			},
			exitUsage,
			[]string{
				"/gone/new.db", "/gone/key", "--timezone", "--tls-key", "/gone/token", "--pprof-address",
				"definitions in definitions: no such file", "external URL", "must be https", "color",
			},
		},
		"faults of the command line beside others": {
			[]string{
				"--database=sqlite:/gone/new.db", "--log-level", "loud", "--no-such-flag=1", "--rate-limit=many", "--drain-delay=2h",
				"--report-interval", "never", "stray", "--timezone=Mars", "--metrics-compat=seed,sown", "--max-replica-lag=5s",
			},
			exitUsage,
			[]string{
				"/gone/new.db", "--log-level", "--no-such-flag", "--rate-limit", "--drain-delay: 2h0m0s must be 0s to 1m",
				"--report-interval", "--timezone", "--metrics-compat", "See insights --help.",
			},
		},
		"what would be lost": {[]string{"--database=" + weak}, exitError, []string{"synchronous_commit=off", "--allow-data-loss"}},
		"what may be lost":   {[]string{"--database=" + weak, "--allow-data-loss"}, exitOK, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, nil, append([]string{"serve", "--check"}, c.args...)...)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			for _, says := range c.says {
				if !strings.Contains(out+errs, says) {
					t.Errorf("no %q in:\n%s%s", says, out, errs)
				}
			}
		})
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	})
}

// A check goes on without the variables that make no sense, and a server that is not checked says all of them.
func TestServeSaysAllFaultsOfVariables(t *testing.T) {
	t.Setenv("INSIGHTS_RATE_LIMIT", "many")
	t.Setenv("INSIGHTS_DRAIN_DELAY", "2h")
	t.Setenv("INSIGHTS_LOG_FORMAT", "song")
	faults := []string{"--rate-limit", "--drain-delay", "--log-format", "INSIGHTS_NO_SUCH_FLAG", "INSIGHTS_NOR_THIS"}
	for _, c := range []struct {
		args     []string
		says     []string
		saysNone string
	}{
		{[]string{"--check"}, append(faults, "/gone/new.db", "--timezone"), "Nothing would"},
		{nil, faults, "/gone/new.db"},
	} {
		args := append([]string{"serve", "--database=sqlite:/gone/new.db", "--timezone=Mars"}, c.args...)
		code, out, errs := command(t, []string{"INSIGHTS_NO_SUCH_FLAG=1", "INSIGHTS_NOR_THIS=1"}, args...)
		if code != exitUsage || strings.Contains(out+errs, c.saysNone) {
			t.Errorf("%v: code %d: %s%s", args, code, out, errs)
		}
		for _, says := range c.says {
			if strings.Count(errs, says) == 0 {
				t.Errorf("%v: no %q in:\n%s", args, says, errs)
			}
		}
	}
}

// A server refuses a database that would lose what it acknowledges, unless it may; then log and metrics say so.
func TestServeKeepsItsPromise(t *testing.T) {
	t.Parallel()
	serve := []string{
		"serve", "--database=" + storetest.Postgres(t) + "&synchronous_commit=off",
		"--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
		"--prometheus-address=127.0.0.1:0",
	}
	code, _, errs := command(t, nil, serve...)
	if code != exitError || !strings.Contains(errs, "synchronous_commit=off, although this service sets it") {
		t.Errorf("code %d: %s", code, errs)
	}
	p := start(t, append(serve, "--allow-data-loss")...)
	p.wait(t, `level=WARN msg="a crash of the database may take what was acknowledged" .* setting=synchronous_commit value=off`)
	at := p.wait(t, `msg=serving .* prometheus=(\S+)`)[0]
	_, page := get(t, "http://"+at+"/metrics", "")
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if line := `insights_database_setting_holds{setting="` + setting + `"} 0`; !strings.Contains(page, line) {
			t.Errorf("no %s", line)
		}
	}
}

package main

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// modeOf is the mode of the deployment in a database, and whether somebody decided on it.
func modeOf(t *testing.T, database string) (mode store.PrivacyMode, decided bool) {
	t.Helper()
	modes, err := storetest.Open(t, database, storetest.Now).PrivacyModes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return modes.Of(uuid.Nil), modes.Decided()
}

// Where nobody can be asked, whoever names no mode is told that nobody decided, and the token stands alone.
func TestPrivacyModeWithoutATerminal(t *testing.T) {
	t.Parallel()
	from, _ := newCoder(t)
	database := storetest.SQLite(t)
	importing := []string{"import", "coder", "--database=" + database, "--from=" + from}
	if _, _, errs := command(t, nil, append(importing, "--dry-run", "--privacy-mode=off")...); strings.Contains(errs, undecided) {
		t.Errorf("a dry run: %s", errs)
	}
	if code, _, errs := command(t, nil, importing...); code != exitOK || strings.Count(errs, undecided) != 1 {
		t.Errorf("import: %d %s", code, errs)
	}
	if mode, decided := modeOf(t, database); mode != store.PrivacyFull || decided {
		t.Errorf("the mode is %s, decided %v", mode, decided)
	}
	code, out, errs := command(t, nil, "token", "first", "--database="+database)
	if code != exitOK || errs != "insights: "+undecided+"\n" || strings.Count(out, "\n") != 1 {
		t.Errorf("token first: %d %s%s", code, out, errs)
	}
	// A command that is refused decides nothing.
	if code, _, errs := command(t, nil, "token", "first", "--database="+database, "--privacy-mode=off"); code != exitError {
		t.Errorf("a second first token: %d %s", code, errs)
	}
	if _, decided := modeOf(t, database); decided {
		t.Error("who got no token decided")
	}
	code, _, errs = command(t, nil, append(importing, "--privacy-mode=aggregate")...)
	if code != exitOK || strings.Contains(errs, undecided) {
		t.Errorf("import: %d %s", code, errs)
	}
	if code, _, errs := command(t, nil, append(importing, "--privacy-mode=full")...); code != exitOK ||
		!strings.Contains(errs, decidedBefore+": it is aggregate") {
		t.Errorf("import: %d %s", code, errs)
	}
	if mode, decided := modeOf(t, database); mode != store.PrivacyAggregate || !decided {
		t.Errorf("the mode is %s, decided %v", mode, decided)
	}
	fresh := storetest.SQLite(t)
	if code, _, errs := command(t, nil, "token", "first", "--database="+fresh, "--privacy-mode=pseudonym"); code != exitOK || errs != "" {
		t.Errorf("token first: %d %s", code, errs)
	}
	if mode, decided := modeOf(t, fresh); mode != store.PrivacyPseudonym || !decided {
		t.Errorf("the mode is %s, decided %v", mode, decided)
	}
}

// A server says at each start that nobody decided, until somebody did. Its flag decides once, and never against an officer.
func TestServeDecidesOnce(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	serve := func(flags ...string) string {
		t.Helper()
		p := start(t, append([]string{
			"serve", "--database=" + database, "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-enable=false",
		}, flags...)...)
		var before strings.Builder
		for line := range p.lines {
			before.WriteString(line + "\n")
			if strings.Contains(line, "msg=serving") {
				break
			}
		}
		p.stop()
		if code := <-p.stopped; code != exitOK {
			t.Fatalf("serve %v: %d\n%s", flags, code, before.String())
		}
		return before.String()
	}
	for range 2 {
		if said := serve(); strings.Count(said, undecided) != 1 {
			t.Errorf("nobody decided: %s", said)
		}
	}
	if said := serve("--privacy-mode=pseudonym"); strings.Contains(said, undecided) {
		t.Errorf("the flag decided: %s", said)
	}
	if mode, decided := modeOf(t, database); mode != store.PrivacyPseudonym || !decided {
		t.Errorf("the mode is %s, decided %v", mode, decided)
	}
	if said := serve(); strings.Contains(said, "privacy mode") {
		t.Errorf("somebody decided: %s", said)
	}
	officer := storetest.Open(t, database, storetest.Now)
	for _, mode := range []store.PrivacyMode{store.PrivacyFull, store.PrivacyAggregate} {
		if _, err := officer.SetPrivacyMode(t.Context(), access.Principal{}, uuid.Nil, mode); err != nil {
			t.Fatal(err)
		}
		if said := serve("--privacy-mode=pseudonym"); !strings.Contains(said, decidedBefore) {
			t.Errorf("an officer decided: %s", said)
		}
		if now, _ := modeOf(t, database); now != mode {
			t.Errorf("the officer said %s, it is %s", mode, now)
		}
	}
	check := []string{"serve", "--check", "--privacy-mode=off", "--database=postgres://127.0.0.1:1/none"}
	if code, _, errs := command(t, nil, check...); code == exitOK || !strings.Contains(errs, "needs --privacy-key-file") {
		t.Errorf("--check without a key: %d %s", code, errs)
	}
}

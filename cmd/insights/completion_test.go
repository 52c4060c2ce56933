package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"to":                          "token",
		"token ":                      "first create list revoke",
		"token c":                     "create",
		"report roi --fo":             "--format",
		"report roi --format ":        "text json csv",
		"report --format csv ":        "capacity optimization support roi",
		"serve --database ":           "", // a file, or what nobody knows
		"serve --log-level=debug --t": "--timezone --tls-cert --tls-key --tls-client-ca --trusted-proxies",
		"completion ":                 "bash zsh fish",
		"nonsense ": "serve migrate token grant import report privacy query export backup restore demo version " +
			"completion",
	} {
		code, out, errs := command(t, nil, append([]string{"complete", "--"}, strings.Split(words, " ")...)...)
		if got := strings.Fields(out); code != exitOK || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q may become %q, %s; want %q", words, got, errs, want)
		}
	}
}

// A shell asks the program.
func TestCompletionOfBash(t *testing.T) {
	t.Parallel()
	folder := linkPrograms(t)
	shell := exec.CommandContext(t.Context(), "bash", "-c", `set -eu
		PATH=$1:$PATH
		source <(insights completion bash)
		COMP_WORDS=(insights backup --o) COMP_CWORD=2
		_insights
		echo "${COMPREPLY[*]}"
		complete -p insights`, "bash", folder)
	out, err := shell.CombinedOutput()
	if want := "--output\ncomplete -o default -F _insights insights\n"; err != nil || string(out) != want {
		t.Errorf("%v, %q; want %q", err, out, want)
	}
	if code, _, errs := command(t, nil, "completion", "tcsh"); code != exitUsage || !strings.Contains(errs, "bash") {
		t.Errorf("tcsh: %d %s", code, errs)
	}
}

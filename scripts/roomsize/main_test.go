package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"server/server.go":                {Data: []byte("1\n2\n")},
		"server/internal/large/large.go":  {Data: []byte("1\n2\n3\n")},
		"server/internal/large/x_test.go": {Data: []byte("1\n2\n3\n4\n")},
		"server/internal/large/testdata/many.go": {
			Data: []byte(strings.Repeat("1\n", 100)),
		},
		"server/none/README": {},
	}
	for i := range 3 {
		tree[fmt.Sprintf("server/internal/many/%d.go", i)] = &fstest.MapFile{}
		tree[fmt.Sprintf("server/internal/many/%d_test.go", i)] = &fstest.MapFile{}
	}
	for name, c := range map[string]struct{ limits, err string }{
		"fits":              {"# A comment.\n\nserver/... 3 3\n", ""},
		"too many lines":    {"server/... 3 2", "limits.txt:1: server/internal/large has 3 lines and may have 2"},
		"too many files":    {"server/... 2 3", "limits.txt:1: server/internal/many has 3 files and may have 2"},
		"one package":       {"server 1 2", ""},
		"one is too large":  {"server 0 2", "server has 1 files and may have 0"},
		"no limit":          {"server/... - -", ""},
		"no such folder":    {"servers/... 3 3", "servers"},
		"no package":        {"server/none 3 3", "no package in server/none"},
		"no number":         {"server 3 many", `"many"`},
		"below zero":        {"server 3 -1", `"-1"`},
		"too few fields":    {"server 3", "a limit is a folder"},
		"the second limits": {"server 1 2\nserver/... 3 1\n", "limits.txt:2: server has 2 lines and may have 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with := fstest.MapFS{"limits.txt": {Data: []byte(c.limits)}}
			for path, file := range tree {
				with[path] = file
			}
			err := run(with, "limits.txt")
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want one about %q", err, c.err)
			}
		})
	}
}

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/template-insights/insights/store/storetest"
)

// Behind a pooler the program does all that it does, and migrates where it is told.
func TestServeBehindPooler(t *testing.T) {
	t.Parallel()
	cluster := storetest.SharedCluster(t)
	direct, err := cluster.Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	pooler, err := cluster.StartPooler(3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pooler.Stop(); err != nil {
			t.Error(err)
		}
	})
	unnamed := "--database=" + pooler.URL(direct)
	pooled := []string{unnamed, "--database-pooler=transaction"}
	listen := []string{"--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0"}
	for want, args := range map[string][]string{
		"say --database-pooler=transaction": append([]string{"serve", unnamed}, listen...),
		"name Postgres itself":              append(append([]string{"serve"}, pooled...), listen...),
		"see --migration-database":          append([]string{"migrate"}, pooled...),
	} {
		if code, _, errs := command(t, nil, args...); code != exitError || !strings.Contains(errs, want) ||
			strings.Contains(errs, "correct-horse") {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
	p := start(t, append(append([]string{"serve", "--migration-database=" + direct}, pooled...), listen...)...)
	at := p.wait(t, `msg=serving .* http=(\S+) prometheus=(\S+) `)
	code, token, errs := command(t, nil, append([]string{"token", "create", "--role=owner"}, pooled...)...)
	if code != exitOK {
		t.Fatalf("token create: %d %s", code, errs)
	}
	url := "http://" + at[0] + "/api/v2/insights/templates?start_time=2023-08-07T00:00:00Z&end_time=2023-08-14T00:00:00Z"
	if status, body := get(t, url, strings.TrimSpace(token)); status != http.StatusOK {
		t.Errorf("question: %d %s", status, body)
	}
	p.stop()
	if code := <-p.stopped; code != exitOK {
		t.Errorf("serve ended with %d", code)
	}
}

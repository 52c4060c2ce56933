package server_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/storetest"
)

// Answers above 1 KiB are compressed for who takes that, and for nobody else, and are the same uncompressed. What is compressed
// already, and secrets, are sent as they are.
func TestAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	r, owner, _ := crowd(t, 12)
	const window = "start_time=2023-08-01T00:00:00Z&end_time=2023-08-15T00:00:00Z"
	fetch := func(path, accepted string) (http.Header, []byte) {
		t.Helper()
		header := http.Header{"Coder-Session-Token": {owner}, "Accept-Encoding": {accepted}}
		status, answered, text := r.Fetch(t, header, path)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		if answered.Get("No-Gzip-Compression") != "" {
			t.Errorf("%s: headers %v", path, answered)
		}
		return answered, text
	}
	for path, compressed := range map[string]bool{
		"/api/v2/insights/user-activity?" + window:                         true,
		"/api/v2/insights/export/user-apps?" + window:                      true,
		"/api/v2/insights/export/user-apps?format=ndjson&" + window:        true,
		"/api/v2/insights/export/user-activity?format=parquet&" + window:   false,
		"/api/v2/insights/export?tables=user-activity,user-apps&" + window: false,
		"/openapi.json":        true,
		"/openapi-3.1.json":    true,
		"/api/v2/access/me":    false,
		"/api/v2/privacy/mode": false,
	} {
		header, plain := fetch(path, "identity")
		if header.Get("Content-Encoding") != "" || !slices.Contains(header.Values("Vary"), "Accept-Encoding") {
			t.Errorf("%s, uncompressed: headers %v", path, header)
		}
		if small := len(plain) < 1<<10; compressed && small || !compressed && !small && !strings.Contains(path, "parquet") &&
			!strings.Contains(path, "tables=") {
			t.Fatalf("%s has %d bytes: it is no case of this test", path, len(plain))
		}
		for accepted, takes := range map[string]bool{
			"gzip": true, "GZIP": true, "br, gzip;q=0.5": true, "zstd, gzip": true, "gzip;q=0": false, "gzip; q=0, *": false,
			"deflate": false,
			"":        false, "gzip;q=nonsense": false,
		} {
			header, text := fetch(path, accepted)
			if got := header.Get("Content-Encoding"); got != map[bool]string{true: "gzip"}[compressed && takes] {
				t.Errorf("%s for %q: Content-Encoding %q", path, accepted, got)
				continue
			}
			if compressed && takes {
				text = unzip(t, text)
			}
			want := plain
			if strings.Contains(path, "tables=") { // the files say when they were made
				text, want = unpack(t, text), unpack(t, plain)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("%s for %q: %.300s, want %.300s", path, accepted, text, want)
			}
		}
	}
}

func unzip(t *testing.T, text []byte) []byte {
	t.Helper()
	in, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if text, err = io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	return text
}

// unpack returns what is in the files of an archive.
func unpack(t *testing.T, archive []byte) (content []byte) {
	t.Helper()
	files, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		content = append(append(content, f.Name...), text...)
	}
	return content
}

// The size of a compressed answer says something of what is in it, so new tokens are sent as they are.
func TestSecretsAreNotCompressed(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	change := &insightsv1.ApplyCatalogRequest{}
	var agents []string
	for range 20 {
		id := uuid.NewString()
		agents = append(agents, `"`+id+`"`)
		change.Agents = append(change.Agents, &insightsv1.Agent{Id: id, WorkspaceId: p.Workspaces[0][0].String(), Name: "main"})
	}
	p.Apply(t, p.controlPlane, change)
	req, err := http.NewRequestWithContext(
		t.Context(), http.MethodPost, "http://"+p.HTTPAddress()+"/api/v2/access/agent-tokens",
		strings.NewReader(`{"agent_ids":[`+strings.Join(agents, ",")+`]}`),
	)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Coder-Session-Token": {p.owner}, "Accept-Encoding": {"gzip"}, "Content-Type": {"application/json"}}
	status, header, text := servertest.Exchange(t, req)
	if status != http.StatusOK || len(text) < 1<<10 || header.Get("Content-Encoding") != "" ||
		bytes.Count(text, []byte(`"secret":"`)) != len(agents) {
		t.Errorf("%d %v %.300s", status, header, text)
	}
}

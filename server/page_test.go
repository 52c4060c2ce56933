package server_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/web"
)

// What is at the addresses of the page: the page, if it was built into the program, and otherwise how to get it.
func TestPage(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	_, err := web.Files.ReadFile("dist/index.html")
	built := err == nil
	t.Logf("the page is built: %t", built)
	for _, path := range []string{"/", "/templates/" + uuid.NewString() + "/insights"} {
		status, header, text := r.send(t, http.MethodGet, path, http.Header{"Accept-Encoding": {"identity"}})
		if status != http.StatusOK || !strings.Contains(string(text), "/openapi.json") {
			t.Errorf("%s: %d %s", path, status, text)
		}
		if !built {
			if lines := strings.Count(string(text), "\n"); lines != 1 || !strings.Contains(string(text), "Node.js") {
				t.Errorf("%s does not say in a line how to get the page: %s", path, text)
			}
			continue
		}
		if header.Get("Content-Type") != "text/html; charset=utf-8" || header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", path, header)
		}
		checkInline(t, text)
		for _, asset := range regexp.MustCompile(`(?:src|href)="(/[^"]+\.(?:js|css|svg))"`).FindAllSubmatch(text, -1) {
			checkAsset(t, r, string(asset[1]))
		}
	}
	for path, want := range map[string]int{
		"/assets/": 404, "/assets/none.js": 404, "/index.html": 404, "/dist/index.html": 404, "/templates": 404, "/templates/x": 404,
		"/robots.txt": 200, "/templates/x/insights": 404, "/nonsense/": 404,
	} {
		if status, _, _ := r.send(t, http.MethodGet, path, http.Header{}); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	// People see the page where nothing is, programs what they always did.
	for path, html := range map[string]bool{"/nonsense": built, "/nonsense/": built, "/api/v2/nonsense": false, "/assets/none.js": false} {
		status, header, _ := r.send(t, http.MethodGet, path, http.Header{})
		if status != http.StatusNotFound || strings.HasPrefix(header.Get("Content-Type"), "text/html") != html {
			t.Errorf("%s: %d %v", path, status, header)
		}
	}
	if built {
		checkAsset(t, r, "/favicon.ico")
	}
}

// checkInline makes sure that the policy finds nothing to refuse.
func checkInline(t *testing.T, html []byte) {
	t.Helper()
	for _, found := range regexp.MustCompile(
		`(?i)<style|\sstyle=|\son\w+=|javascript:|https?://|<script(?:\s[^>]*)?>[^<]`,
	).FindAll(html, -1) {
		t.Errorf("the page has %q: %s", found, html)
	}
}

// checkAsset makes sure that a file of the page is there, plain and compressed.
func checkAsset(t *testing.T, r *running, path string) {
	t.Helper()
	_, header, plain := r.send(t, http.MethodGet, path, http.Header{"Accept-Encoding": {"identity"}})
	if header.Get("Content-Encoding") != "" || len(plain) == 0 ||
		strings.HasPrefix(path, "/assets/") != strings.Contains(header.Get("Cache-Control"), "immutable") {
		t.Errorf("%s: %v", path, header)
	}
	status, header, compressed := r.send(t, http.MethodGet, path, http.Header{"Accept-Encoding": {"br, gzip"}})
	if status != http.StatusOK || header.Get("Content-Encoding") != "gzip" || header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("%s compressed: %d %v", path, status, header)
	}
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain) {
		t.Errorf("%s compressed is something else: %v", path, err)
	}
}

package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Metrics are for who bears their token, if there is one.
func TestScrapeToken(t *testing.T) {
	t.Parallel()
	const token = "a-token-for-scrapes"
	guarded := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) { c.PrometheusToken = token })
	open := run(t, storetest.SQLite(t), storetest.Now, nil)
	for name, c := range map[string]struct {
		server *running
		header http.Header
		status int
	}{
		"the token":            {guarded, http.Header{"Authorization": {"Bearer " + token}}, 200},
		"scheme in lower case": {guarded, http.Header{"Authorization": {"bearer " + token}}, 200},
		"none":                 {guarded, nil, 401},
		"another":              {guarded, http.Header{"Authorization": {"Bearer " + token[1:]}}, 401},
		"more than it":         {guarded, http.Header{"Authorization": {"Bearer " + token + "x"}}, 401},
		"less than it":         {guarded, http.Header{"Authorization": {"Bearer " + token[:len(token)-1]}}, 401},
		"empty":                {guarded, http.Header{"Authorization": {"Bearer "}}, 401},
		"scheme alone":         {guarded, http.Header{"Authorization": {"Bearer"}}, 401},
		"other scheme":         {guarded, http.Header{"Authorization": {"Basic " + token}}, 401},
		"token of the API": {
			guarded, http.Header{"Authorization": {"Bearer " + guarded.Token(t, access.RoleOwner, servertest.Everywhere)}}, 401,
		},
		"in the header of the API":   {guarded, http.Header{"Coder-Session-Token": {token}}, 401},
		"in a cookie":                {guarded, http.Header{"Cookie": {"authorization=Bearer " + token}}, 401},
		"none is needed":             {open, nil, 200},
		"one where none is needed":   {open, http.Header{"Authorization": {"Bearer " + token}}, 200},
		"empty where none is needed": {open, http.Header{"Authorization": {"Bearer "}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"/metrics", "/"} {
				status, header, body := servertest.FetchFrom(t, c.server.PrometheusAddress(), c.header, path)
				shown := strings.Contains(string(body), "go_goroutines")
				asked := strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer ")
				if status != c.status || shown != (c.status == 200) || asked != (c.status == 401) {
					t.Errorf("%s: %d, metrics: %t, asked for a token: %t; want %d", path, status, shown, asked, c.status)
				}
			}
		})
	}
}

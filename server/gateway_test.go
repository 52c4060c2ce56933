package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// What comes to the edge of the API meets a clear answer in the form that clients know.
func TestGateway(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	insights, activity := "/api/v2/insights/templates?"+wiretest.Week, "/api/v2/insights/user-activity?"+wiretest.Week
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		body         io.Reader
		status       int
		says         string
	}{
		"token of Coder's clients": {
			path: insights, header: http.Header{"Coder-Session-Token": {owner}}, status: 200, says: `"apps_usage":[`,
		},
		"older header": {path: insights, header: http.Header{"Session-Token": {owner}}, status: 200},
		"bearer": {
			path: activity, header: http.Header{"Authorization": {"Bearer " + owner}}, status: 200, says: `"users":[]`,
		},
		"no token": {path: insights, status: 401, says: `"message":"A valid token is needed."`},
		"two tokens": {
			path: insights, header: http.Header{"Authorization": {"Bearer " + owner}, "Coder-Session-Token": {owner}}, status: 401,
		},
		"the same header twice": {path: insights, header: http.Header{"Coder-Session-Token": {owner, owner}}, status: 401},
		"metadata in disguise": {
			path: insights, header: http.Header{"Grpc-Metadata-Authorization": {"Bearer " + owner}}, status: 401,
		},
		"basic authentication": {path: insights, header: http.Header{"Authorization": {"Basic " + owner}}, status: 401},
		"token in the query": {
			path: insights + "&coder_session_token=" + owner, header: http.Header{"Coder-Session-Token": {owner}}, status: 400,
			says: `"field":"coder_session_token"`,
		},
		"camel case": {
			path: insights + "&templateIds=x", header: http.Header{"Coder-Session-Token": {owner}}, status: 400,
			says: `"field":"templateIds"`,
		},
		"wrong method": {
			method: http.MethodPost, path: insights, header: http.Header{"Coder-Session-Token": {owner}}, status: 405, says: `"message"`,
		},
		"method override": {
			method: http.MethodPost, path: insights, header: http.Header{"Coder-Session-Token": {owner}, "X-Http-Method-Override": {"GET"}},
			status: 405,
		},
		"no such route": {path: "/api/v2/nothing", status: 404, says: `"message"`},
		"extra slash": {
			path: "/api/v2/insights/templates/?" + wiretest.Week, header: http.Header{"Coder-Session-Token": {owner}}, status: 404,
		},
		"data of a service": {
			path: "/api/v2/privacy/me", header: http.Header{"Coder-Session-Token": {owner}}, status: 403, says: `"message":"Forbidden."`,
		},
		"fractional offset": {
			path: "/api/v2/insights/daus?tz_offset=5.5", header: http.Header{"Coder-Session-Token": {owner}}, status: 400,
			says: "must be a valid integer",
		},
		"value of a field of a body": {
			method: http.MethodPost, path: "/api/v2/privacy/mode", header: http.Header{"Coder-Session-Token": {owner}},
			body: strings.NewReader(`{"mode":"loud"}`), status: 400,
			says: `"message":"The body has fields with invalid values.","validations":[{"field":"mode","detail":"must be one of [`,
		},
		"id in a body": {
			method: http.MethodPost, path: "/api/v2/privacy/mode", header: http.Header{"Coder-Session-Token": {owner}},
			body: strings.NewReader(`{"mode":"full","organization_id":"x"}`), status: 400,
			says: `"message":"The body has fields with invalid values.",` +
				`"validations":[{"field":"organization_id","detail":"has invalid values: x"}`,
		},
		"form instead of a query": {
			method: http.MethodPost, path: "/api/v2/insights/templates",
			header: http.Header{"Coder-Session-Token": {owner}, "Content-Type": {"application/x-www-form-urlencoded"}},
			body:   strings.NewReader(wiretest.Week), status: 415,
		},
		"form": {
			method: http.MethodPost, path: "/api/v2/catalog",
			header: http.Header{"Coder-Session-Token": {owner}, "Content-Type": {"application/x-www-form-urlencoded"}},
			body:   strings.NewReader(`{"users":[]}`), status: 415, says: "application/json",
		},
		"plain text": {
			method: http.MethodPost, path: "/api/v2/catalog",
			header: http.Header{"Coder-Session-Token": {owner}, "Content-Type": {"text/plain"}}, body: strings.NewReader(`{"users":[]}`),
			status: 415,
		},
		"no type": {
			method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}, "Content-Type": {""}},
			body: strings.NewReader(`{"users":[]}`), status: 415,
		},
		"type of two": {
			method: http.MethodPost, path: "/api/v2/catalog",
			header: http.Header{"Coder-Session-Token": {owner}, "Content-Type": {"text/plain, application/json"}},
			body:   strings.NewReader(`{"users":[]}`), status: 415,
		},
		"JSON with its character set": {
			method: http.MethodPost, path: "/api/v2/catalog",
			header: http.Header{"Coder-Session-Token": {owner}, "Content-Type": {"Application/JSON; charset=UTF-8"}},
			body:   strings.NewReader(`{"users":[]}`), status: 200,
		},
		"query that cannot be read": {
			path: "/api/v2/access/me?a;b", header: http.Header{"Coder-Session-Token": {owner}}, status: 400, says: "query",
		},
		"head of a question": {
			method: http.MethodHead, path: insights, header: http.Header{"Coder-Session-Token": {owner}}, status: 405,
		},
		"head of the description": {method: http.MethodHead, path: "/openapi.json", status: 200},
		"cookie": {
			path: insights, header: http.Header{"Cookie": {"coder_session_token=" + owner + "; authorization=" + owner}}, status: 401,
		},
		"cookie beside a token": {
			path: insights, header: http.Header{"Coder-Session-Token": {owner}, "Cookie": {"coder_session_token=tia_x"}}, status: 200,
		},
		"unknown field in a body": {
			method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}},
			body: strings.NewReader(`{"planets":[]}`), status: 400, says: `"validations":[{"field":"planets"`,
		},
		"compressed body": {
			method: http.MethodPost, path: "/api/v2/catalog",
			header: http.Header{"Coder-Session-Token": {owner}, "Content-Encoding": {"gzip"}}, body: strings.NewReader("x"), status: 415,
		},
		"large body": {
			method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}},
			body: bytes.NewReader(make([]byte, call.MaxMessage+1)), status: 413,
		},
		"deadline from outside": {
			path: insights, header: http.Header{"Coder-Session-Token": {owner}, "Grpc-Timeout": {"1n"}}, status: 200,
		},
		"description": {path: "/openapi.json", status: 200, says: `"/api/v2/insights/templates"`},
		"alive":       {path: "/livez", status: 200},
		"ready":       {path: "/readyz", status: 200},
		"page":        {path: "/", status: 200, says: "/openapi.json"},
		"reports over REST": {
			method: http.MethodPost, path: "/api/v2/ingest/stats", header: http.Header{"Coder-Session-Token": {owner}},
			body: strings.NewReader(`{"reports":[]}`), status: 403, says: `"message":"Forbidden."`,
		},
		"catalog with 64-bit and null": {
			method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}},
			body: strings.NewReader(`{"organizations":[{"id":"x"}]}`), status: 200,
			says: `"acknowledged":0,"rejected":[{"list":"organizations","index":0`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.method == "" {
				c.method = http.MethodGet
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+r.HTTPAddress()+c.path, c.body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = c.header
			if req.Header == nil {
				req.Header = http.Header{}
			}
			if c.body != nil && req.Header["Content-Type"] == nil {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.says) {
				t.Errorf("%d %s; want %d with %q", resp.StatusCode, body, c.status, c.says)
			}
			if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("a browser may guess what the answer is")
			}
			contentType := resp.Header.Get("Content-Type")
			if c.method != http.MethodHead && strings.HasPrefix(c.path, "/api/") && contentType != "application/json; charset=utf-8" {
				t.Errorf("content type %q", contentType)
			}
			for header := range resp.Header {
				if strings.HasPrefix(header, "Grpc-") {
					t.Errorf("header %s leaks", header)
				}
			}
		})
	}
}

// However a path is written, it is the route that it names or it is refused; never is anyone sent elsewhere.
func TestGatewayPaths(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path string) (int, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.HTTPAddress(), nil)
		if err != nil {
			t.Fatal(err)
		}
		before, query, _ := strings.Cut(path, "?")
		unescaped, err := url.PathUnescape(before)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path, req.URL.RawPath, req.URL.RawQuery = unescaped, before, query
		req.Header.Set("Coder-Session-Token", owner)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	for _, path := range []string{"/api/v2/access/me", "/openapi.json", "/livez", "/"} {
		if status, _ := ask(http.MethodGet, path); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{
		"//api/v2/access/me", "/api//v2/access/me", "/api/v2//access/me", "/api/v2/access//me", "/api/v2/access/me/", "/api/v2/access/me//",
		"/api/v2/access/me/.", "/api/v2/access/me/..",
		"/./api/v2/access/me", "/api/./v2/access/me", "/api/v2/insights/../access/me", "/../api/v2/access/me", "/livez/../api/v2/access/me",
		"/api/v2/access/tokens/../me",
		"/api/v2/access/%6de", "/%61pi/v2/access/me", "/api%2Fv2/access/me", "/api/v2%2faccess/me", "/api/v2/%2e/access/me",
		"/api/v2/insights/%2e%2e/access/me", "/api/v2/insights/%2E%2E/access/me",
		"/api/v2/access/me%2F", "/api/v2/access/me%00", "/api/v2/access/me%20", "/api/v2/access/me%3Fx=1", "/api/v2/access/me%ff",
		"/api/v2/access/%256de",
		"/api/v2/access/me;x=1", "/api/v2/access/ME", "/API/v2/access/me", "/api/v2/access/me:get", "/insights.v1.AccessService/WhoAmI",
		"/openapi.json/", "/livez/", "//livez", "/%6civez", "//evil.example/api/v2/access/me",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			for _, query := range []string{"", "?a=1"} {
				status, header := ask(method, path+query)
				if status != http.StatusNotFound && status != http.StatusMethodNotAllowed || header.Get("Location") != "" {
					t.Errorf("%s %s: %d, sent to %q", method, path+query, status, header.Get("Location"))
				}
			}
		}
	}
}

// No other site may read answers, whatever a browser asks on its behalf.
func TestNoCrossOriginAccess(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	for _, origin := range []string{
		"null", "https://evil.example", "http://" + r.HTTPAddress(), "http://" + r.HTTPAddress() + ".evil.example",
		"http://user@" + r.HTTPAddress(), "*",
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions, http.MethodPost} {
			for _, path := range []string{"/api/v2/access/me", "/api/v2/catalog", "/api/v2/nothing", "/openapi.json", "/livez"} {
				req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.HTTPAddress()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = http.Header{
					"Coder-Session-Token": {owner}, "Origin": {origin}, "Access-Control-Request-Method": {"POST"},
					"Access-Control-Request-Headers": {"authorization"},
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				for header := range resp.Header {
					if strings.HasPrefix(header, "Access-Control-") {
						t.Errorf("%s %s from %s: header %s", method, path, origin, header)
					}
				}
				if method == http.MethodOptions && resp.StatusCode < 400 {
					t.Errorf("a question before the question to %s from %s: %d", path, origin, resp.StatusCode)
				}
			}
		}
	}
}

// With TLS gRPC and REST are encrypted, and the gateway still finds the server.
func TestTLS(t *testing.T) {
	t.Parallel()
	certificate, pool := wiretest.SelfSigned(t)
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	})
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.HTTPAddress()+"/api/v2/access/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+owner)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("REST over TLS: %d", resp.StatusCode)
	}
	conn, err := grpc.NewClient(r.GRPCAddress(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	servertest.Must(t, insightsv1.NewAccessServiceClient(conn).WhoAmI, owner, &insightsv1.WhoAmIRequest{})
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), owner), 5*time.Second)
	defer cancel()
	if _, err := insightsv1.NewAccessServiceClient(r.Conn).WhoAmI(ctx, &insightsv1.WhoAmIRequest{}); err == nil {
		t.Error("plaintext gets through a TLS port")
	}
}

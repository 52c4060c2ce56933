package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

const week = "start_time=2023-08-07T00:00:00Z&end_time=2023-08-14T00:00:00Z"

// What comes to the edge of the API meets a clear answer in the form that clients know.
func TestGateway(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.token(t, access.RoleOwner, everywhere)
	insights, activity := "/api/v2/insights/templates?"+week, "/api/v2/insights/user-activity?"+week
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		body         io.Reader
		status       int
		says         string
	}{
		"token of Coder's clients":     {path: insights, header: http.Header{"Coder-Session-Token": {owner}}, status: 200, says: `"apps_usage":[`},
		"older header":                 {path: insights, header: http.Header{"Session-Token": {owner}}, status: 200},
		"bearer":                       {path: activity, header: http.Header{"Authorization": {"Bearer " + owner}}, status: 200, says: `"users":[]`},
		"no token":                     {path: insights, status: 401, says: `"message":"A valid token is needed."`},
		"two tokens":                   {path: insights, header: http.Header{"Authorization": {"Bearer " + owner}, "Coder-Session-Token": {owner}}, status: 401},
		"the same header twice":        {path: insights, header: http.Header{"Coder-Session-Token": {owner, owner}}, status: 401},
		"metadata in disguise":         {path: insights, header: http.Header{"Grpc-Metadata-Authorization": {"Bearer " + owner}}, status: 401},
		"basic authentication":         {path: insights, header: http.Header{"Authorization": {"Basic " + owner}}, status: 401},
		"token in the query":           {path: insights + "&coder_session_token=" + owner, header: http.Header{"Coder-Session-Token": {owner}}, status: 400, says: `"field":"coder_session_token"`},
		"camel case":                   {path: insights + "&templateIds=x", header: http.Header{"Coder-Session-Token": {owner}}, status: 400, says: `"field":"templateIds"`},
		"wrong method":                 {method: http.MethodPost, path: insights, header: http.Header{"Coder-Session-Token": {owner}}, status: 405, says: `"message"`},
		"method override":              {method: http.MethodPost, path: insights, header: http.Header{"Coder-Session-Token": {owner}, "X-Http-Method-Override": {"GET"}}, status: 405},
		"no such route":                {path: "/api/v2/nothing", status: 404, says: `"message"`},
		"extra slash":                  {path: "/api/v2/insights/templates/?" + week, header: http.Header{"Coder-Session-Token": {owner}}, status: 404},
		"later question":               {path: "/api/v2/privacy/me", header: http.Header{"Coder-Session-Token": {owner}}, status: 501},
		"fractional offset":            {path: "/api/v2/insights/daus?tz_offset=5.5", header: http.Header{"Coder-Session-Token": {owner}}, status: 400, says: "must be a valid integer"},
		"unknown field in a body":      {method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}}, body: strings.NewReader(`{"planets":[]}`), status: 400, says: "planets"},
		"compressed body":              {method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}, "Content-Encoding": {"gzip"}}, body: strings.NewReader("x"), status: 415},
		"large body":                   {method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}}, body: bytes.NewReader(make([]byte, maxMessage+1)), status: 413},
		"deadline from outside":        {path: insights, header: http.Header{"Coder-Session-Token": {owner}, "Grpc-Timeout": {"1n"}}, status: 200},
		"description":                  {path: "/openapi.json", status: 200, says: `"/api/v2/insights/templates"`},
		"alive":                        {path: "/livez", status: 200},
		"ready":                        {path: "/readyz", status: 200},
		"the page is yet to be built":  {path: "/", status: 200, says: "/openapi.json"},
		"reports over REST":            {method: http.MethodPost, path: "/api/v2/ingest/stats", header: http.Header{"Coder-Session-Token": {owner}}, body: strings.NewReader(`{"reports":[]}`), status: 403, says: `"message":"Forbidden."`},
		"catalog with 64-bit and null": {method: http.MethodPost, path: "/api/v2/catalog", header: http.Header{"Coder-Session-Token": {owner}}, body: strings.NewReader(`{"organizations":[{"id":"x"}]}`), status: 200, says: `"acknowledged":0,"rejected":[{"list":"organizations","index":0`},
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
			if contentType := resp.Header.Get("Content-Type"); strings.HasPrefix(c.path, "/api/") && contentType != "application/json; charset=utf-8" {
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

func TestReadinessFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + r.HTTPAddress() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready without a database: %d", resp.StatusCode)
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct{ remote, forwarded, want string }{
		"direct":               {"198.51.100.1:5", "", "198.51.100.1"},
		"direct, with a claim": {"198.51.100.1:5", "203.0.113.9", "198.51.100.1"},
		"behind a proxy":       {"10.0.0.1:5", "203.0.113.9", "203.0.113.9"},
		"behind two proxies":   {"10.0.0.1:5", "203.0.113.9, 10.2.2.2", "203.0.113.9"},
		"a claim before them":  {"10.0.0.1:5", "192.0.2.1, 203.0.113.9, 10.2.2.2", "203.0.113.9"},
		"nonsense":             {"10.0.0.1:5", "unknown", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			if got := clientAddress(r, trusted); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// With TLS gRPC and REST are encrypted, and the gateway still finds the server.
func TestTLS(t *testing.T) {
	t.Parallel()
	certificate, pool := selfSigned(t)
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	})
	owner := r.token(t, access.RoleOwner, everywhere)
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
	must(t, insightsv1.NewAccessServiceClient(conn).WhoAmI, owner, &insightsv1.WhoAmIRequest{})
	ctx, cancel := context.WithTimeout(as(t.Context(), owner), 5*time.Second)
	defer cancel()
	if _, err := insightsv1.NewAccessServiceClient(r.conn).WhoAmI(ctx, &insightsv1.WhoAmIRequest{}); err == nil {
		t.Error("plaintext gets through a TLS port")
	}
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

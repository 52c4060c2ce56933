package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Where clients need certificates, one that names an agent lets in that agent's tokens and no others, on every way in.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	certificate, pool := wiretest.SelfSigned(t)
	clients, others := wiretest.NewAuthority(t), wiretest.NewAuthority(t)
	accepted := x509.NewCertPool()
	accepted.AddCert(clients.Certificate)
	r := run(t, f.Database, storetest.Now, func(c *server.Options) {
		c.TLS = &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, ClientCAs: accepted,
			ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
	a, b := f.Agents[0][0], f.Agents[0][1]
	secrets, err := f.CreateTokens(t.Context(), []store.Token{
		{PrincipalKind: access.KindAgent, PrincipalID: a}, {PrincipalKind: access.KindAgent, PrincipalID: b},
	})
	if err != nil {
		t.Fatal(err)
	}
	tokenA, tokenB, owner := secrets[0].Reveal(), secrets[1].Reveal(), r.Token(t, access.RoleOwner, servertest.Everywhere)
	nameA, nameB := "spiffe://company.example/agent/"+a.String(), "spiffe://company.example/agent/"+b.String()
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		token        string
		want         codes.Code // Unavailable: no connection
	}{
		"everything right":  {clients.Sign(t, time.Hour, nameA), tokenA, codes.OK},
		"other domain":      {clients.Sign(t, time.Hour, "spiffe://other/agent/"+a.String()), tokenA, codes.OK},
		"one of two agents": {clients.Sign(t, time.Hour, nameB, nameA), tokenA, codes.OK},
		"names beside": {
			clients.Sign(t, time.Hour, "https://company.example/agent/"+b.String(), "spiffe://company.example/ns/default/sa/x", nameA),
			tokenA, codes.OK,
		},
		"no names, an agent":             {clients.Sign(t, time.Hour), tokenA, codes.OK},
		"no names, an owner":             {clients.Sign(t, time.Hour), owner, codes.OK},
		"no certificate":                 {nil, tokenA, codes.Unavailable},
		"of another authority":           {others.Sign(t, time.Hour, nameA), tokenA, codes.Unavailable},
		"signed by itself":               {[]tls.Certificate{certificate}, tokenA, codes.Unavailable},
		"expired":                        {clients.Sign(t, -time.Hour, nameA), tokenA, codes.Unavailable},
		"names another agent":            {clients.Sign(t, time.Hour, nameB), tokenA, codes.Unauthenticated},
		"of one agent, token of other":   {clients.Sign(t, time.Hour, nameA), tokenB, codes.Unauthenticated},
		"of an agent, token of an owner": {clients.Sign(t, time.Hour, nameA), owner, codes.Unauthenticated},
		"names an unknown agent": {
			clients.Sign(t, time.Hour, "spiffe://company.example/agent/"+uuid.NewString()), tokenA, codes.Unauthenticated,
		},
		"names an agent by a nickname":  {clients.Sign(t, time.Hour, "spiffe://company.example/agent/a"), tokenA, codes.Unauthenticated},
		"names no agent where one goes": {clients.Sign(t, time.Hour, "spiffe://company.example/agent/"), tokenA, codes.Unauthenticated},
		"more behind the id":            {clients.Sign(t, time.Hour, nameA+"/x"), tokenA, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := &tls.Config{RootCAs: pool, Certificates: c.certificates}
			conn, err := grpc.NewClient(r.GRPCAddress(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// What the gateway says of certificates is not believed from anyone else.
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(
				servertest.As(t.Context(), c.token), guard.CallerAgentKey, a.String(), guard.CallerAgentKey, b.String(),
			), time.Minute)
			defer cancel()
			if _, err := insightsv1.NewAccessServiceClient(conn).WhoAmI(ctx, &insightsv1.WhoAmIRequest{}); status.Code(err) != c.want {
				t.Errorf("gRPC: %v, want %v", err, c.want)
			}
			if c.token != owner {
				stream, err := insightsv1.NewIngestServiceClient(conn).StreamStats(ctx)
				if err == nil {
					_, err = stream.Recv()
				}
				if status.Code(err) != c.want {
					t.Errorf("stream: %v, want %v", err, c.want)
				}
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.HTTPAddress()+"/api/v2/access/me", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{
				"Authorization": {"Bearer " + c.token}, "Insights-Caller-Agent": {a.String(), b.String()},
				"Grpc-Metadata-Insights-Caller-Agent": {a.String(), b.String()},
			}
			resp, err := client.Do(req)
			if err != nil {
				if c.want != codes.Unavailable {
					t.Errorf("REST: %v", err)
				}
				return
			}
			defer resp.Body.Close()
			if want := map[codes.Code]int{codes.OK: 200, codes.Unauthenticated: 401}[c.want]; resp.StatusCode != want {
				t.Errorf("REST: %d, want %d", resp.StatusCode, want)
			}
		})
	}
}

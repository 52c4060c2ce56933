package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// A stream that says nothing ends soon after its token was revoked.
func TestRevokedTokenEndsItsStream(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	secrets, err := c.Store.CreateTokens(t.Context(), []store.Token{
		{PrincipalKind: access.KindAgent, PrincipalID: uuid.MustParse(c.agents[0])},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), secrets[0].Reveal()), 20*time.Second)
	defer cancel()
	stream, err := insightsv1.NewIngestServiceClient(c.Conn).StreamStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	owner := c.Token(t, access.RoleOwner, servertest.Everywhere)
	servertest.Must(
		t, insightsv1.NewAccessServiceClient(c.Conn).RevokeToken, owner, &insightsv1.RevokeTokenRequest{TokenId: secrets[0].ID()},
	)
	begin := time.Now()
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("stream after its token was revoked: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What an ordinary client says about where it calls from is not believed.
func TestCallerAddressIsNotForged(t *testing.T) {
	t.Parallel()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(call.CallerAddressKey, "203.0.113.7"))
	if got := call.CallerAddress(ctx); got != "" {
		t.Errorf("address without a peer: %q", got)
	}
}

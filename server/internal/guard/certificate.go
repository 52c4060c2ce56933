package guard

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// A client certificate is an agent's own if a URI among its names is spiffe://DOMAIN/agent/ID, whatever the domain. Then it
// lets in that agent's tokens only, so that neither is of use without the other. Other names say nothing.
const (
	agentNameScheme = "spiffe"
	agentNamePath   = "/agent/"
)

// CertificateAgents are the ids of agents, as written, that the certificate of a connection names. Only a certificate that
// was verified counts.
func CertificateAgents(state *tls.ConnectionState) []string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	var agents []string
	for _, name := range state.VerifiedChains[0][0].URIs {
		if id, ok := strings.CutPrefix(name.Path, agentNamePath); ok && name.Scheme == agentNameScheme {
			agents = append(agents, id)
		}
	}
	return agents
}

// CallerAgentKey carries, from the gateway to the server, which agents the certificate of a REST call names.
const CallerAgentKey = "insights-caller-agent"

// callerAgents are the agents that the certificate of a call names. What the metadata says is believed from the gateway
// only.
func callerAgents(ctx context.Context) []string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	if call.IsInMemory(p.Addr) {
		md, _ := metadata.FromIncomingContext(ctx)
		return md.Get(CallerAgentKey)
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	return CertificateAgents(&info.State)
}

// checkCertificate turns away a principal who is not the agent that the certificate of the call names.
func checkCertificate(ctx context.Context, p access.Principal) error {
	agents := callerAgents(ctx)
	if len(agents) == 0 || p.Kind == access.KindAgent && slices.Contains(agents, p.Agent.String()) {
		return nil
	}
	return store.ErrUnauthenticated
}

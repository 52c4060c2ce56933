package guard

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/template-insights/insights/server/servertest/wiretest"
)

// A certificate that nobody verified says nothing.
func TestUnverifiedCertificate(t *testing.T) {
	t.Parallel()
	signer := wiretest.NewAuthority(t)
	pair := signer.Sign(t, time.Hour, "spiffe://company.example/agent/x")[0]
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
	if got := CertificateAgents(state); got != nil {
		t.Errorf("it names %v", got)
	}
	state.VerifiedChains = [][]*x509.Certificate{{certificate, signer.Certificate}}
	if got := CertificateAgents(state); len(got) != 1 {
		t.Errorf("verified it names %v", got)
	}
}

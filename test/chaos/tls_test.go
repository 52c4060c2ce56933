package chaos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store/storetest"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), serial: 1}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue makes a certificate for loopback, of both servers and clients, and its key.
func (a *authority) issue(t *testing.T, until time.Time) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// newTLSFiles makes the files of a server.
func newTLSFiles(t *testing.T, a *authority) server.TLSFiles {
	t.Helper()
	folder := t.TempDir()
	files := server.TLSFiles{Certificate: filepath.Join(folder, "certificate"), Key: filepath.Join(folder, "key")}
	replaceTLS(t, files, a, time.Now().Add(time.Hour))
	return files
}

// replaceTLS renews certificate and key, one after the other.
func replaceTLS(t *testing.T, files server.TLSFiles, a *authority, until time.Time) {
	t.Helper()
	certificate, key := a.issue(t, until)
	writeFile(t, files.Certificate, certificate)
	writeFile(t, files.Key, key)
}

func writeFile(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serialAt is the number of the certificate that a server shows, if the handshake comes through.
func serialAt(address string, config *tls.Config) (int64, error) {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, config)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// Whether the client is let in, it learns with the first answer.
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return 0, err
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// Certificates are renewed under load: new connections see the new one within seconds, no stream breaks. One that has ended is
// refused by clients, one of another authority too; a plain connection gets nowhere.
func TestCertificateRotation(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	database := storetest.SQLite(t)
	f := newFleet(t, database, 8)
	config := newServerConfig(t, database)
	config.TLS = newTLSFiles(t, a)
	p := startServer(t, config)
	trust := &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12}
	load := f.report(t, manner{address: p.GRPC, tls: credentials.NewTLS(trust), every: 5 * time.Millisecond})
	f.awaitAll(t)
	streams := f.streams()
	var slowest time.Duration
	for range *rotations {
		replaceTLS(t, config.TLS, a, time.Now().Add(time.Hour))
		begin := time.Now()
		await(t, "the new certificate", func() bool {
			serial, err := serialAt(p.GRPC, trust)
			return err == nil && serial == a.serial
		})
		slowest = max(slowest, time.Since(begin))
		if serial, err := serialAt(p.HTTP, &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12}); err == nil && serial != a.serial {
			t.Errorf("REST shows certificate %d, gRPC %d", serial, a.serial)
		}
		f.awaitAcks(t, 20)
	}
	if _, err := serialAt(p.GRPC, &tls.Config{RootCAs: newAuthority(t).pool(), MinVersion: tls.VersionTLS12}); err == nil {
		t.Error("a certificate of an unknown authority is taken")
	}
	writeFile(t, config.TLS.Key, []byte("nonsense")) // the old one stays in use
	await(t, "the server to complain", func() bool {
		if serial, err := serialAt(p.GRPC, trust); err != nil || serial != a.serial {
			t.Fatalf("certificate %d, %v", serial, err)
		}
		return len(p.readLog()) > 0
	})
	replaceTLS(t, config.TLS, a, time.Now().Add(-time.Minute))
	await(t, "a certificate that has ended is refused", func() bool {
		_, err := serialAt(p.GRPC, trust)
		return err != nil
	})
	replaceTLS(t, config.TLS, a, time.Now().Add(time.Hour))
	await(t, "connections again", func() bool {
		_, err := serialAt(p.GRPC, trust)
		return err == nil
	})
	if conn, err := net.Dial("tcp", p.GRPC); err == nil {
		_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if answer := make([]byte, 9); readFull(conn, answer) && answer[3] == 4 {
			t.Error("a plain connection gets HTTP/2 settings from a TLS port")
		}
		_ = conn.Close()
	}
	load.stop()
	t.Logf("%d rotations, the slowest seen after %v; %d streams broke", *rotations, slowest.Round(time.Millisecond), f.streams()-streams)
	if f.streams() != streams {
		t.Errorf("%d streams broke", f.streams()-streams)
	}
	p.stop(t)
}

func readFull(conn net.Conn, b []byte) bool {
	n, err := conn.Read(b)
	return err == nil && n == len(b)
}

// An authority of clients is replaced: who has a certificate of the old one is no longer let in, and who has none never was.
func TestClientAuthorityRotation(t *testing.T) {
	t.Parallel()
	a, old, next := newAuthority(t), newAuthority(t), newAuthority(t)
	database := storetest.SQLite(t)
	config := newServerConfig(t, database)
	config.TLS = newTLSFiles(t, a)
	config.TLS.ClientCA = filepath.Join(t.TempDir(), "clients")
	writeFile(t, config.TLS.ClientCA, old.pem)
	p := startServer(t, config)
	as := func(signer *authority) *tls.Config {
		c := &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12}
		if signer != nil {
			pair, err := tls.X509KeyPair(signer.issue(t, time.Now().Add(time.Hour)))
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{pair}
		}
		return c
	}
	letIn := func(c *tls.Config) bool {
		_, err := serialAt(p.GRPC, c)
		return err == nil
	}
	await(t, "a client of the old authority", func() bool { return letIn(as(old)) })
	resumed := as(old)
	resumed.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if !letIn(resumed) || letIn(as(nil)) || letIn(as(next)) {
		t.Error("a client without a certificate of the authority is let in")
	}
	writeFile(t, config.TLS.ClientCA, append(append([]byte{}, old.pem...), next.pem...))
	await(t, "a client of the new authority", func() bool { return letIn(as(next)) })
	if !letIn(as(old)) {
		t.Error("a client of the old authority is refused while both count")
	}
	writeFile(t, config.TLS.ClientCA, next.pem)
	begin := time.Now()
	await(t, "the old authority is refused", func() bool { return !letIn(as(old)) })
	t.Logf("refused after %v", time.Since(begin).Round(time.Millisecond))
	if !letIn(as(next)) || letIn(as(nil)) || letIn(resumed) {
		t.Error("the new authority does not count, or none is needed, or who was let in before still is")
	}
	p.stop(t)
}

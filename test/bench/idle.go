package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// measureIdle holds a TLS connection with an open stream for each of many agents. What the server needs for them does not
// depend on the database.
func measureIdle(ctx context.Context, t *table, d database, s sizes) (err error) {
	if d.cluster == nil {
		return nil
	}
	name, st, err := d.create(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	fleet := s
	fleet.Agents = s.Idle
	agents, _, err := newFleet(ctx, st, fleet)
	if err != nil {
		return err
	}
	tokens := make([]store.Token, len(agents))
	for i, agent := range agents {
		tokens[i] = store.Token{PrincipalKind: access.KindAgent, PrincipalID: agent}
	}
	secrets, err := st.CreateTokens(ctx, tokens)
	if err != nil {
		return err
	}
	child, err := startServer(ctx, name, tlsVariable+"=1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	before := processMemory(child.Process.Pid, "VmRSS:")
	closeAll, err := holdStreams(ctx, child.addresses, secrets)
	if err != nil {
		return errors.Join(err, closeAll())
	}
	time.Sleep(s.WarmUp) // until the handshakes are forgotten
	t.add(d, "resident memory without agents", before, "MiB", "")
	t.add(d, fmt.Sprintf("resident memory with %d idle TLS agents", s.Idle), processMemory(child.Process.Pid, "VmRSS:"), "MiB", "≤ 450")
	return closeAll()
}

// holdStreams opens a connection and a stream for each token, and returns when the server has answered on all of them.
func holdStreams(ctx context.Context, server addresses, tokens []access.Token) (closeAll func() error, err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.Certificate)
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	var connections []*grpc.ClientConn
	closeAll = func() error {
		cancel()
		var errs []error
		for _, c := range connections {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
	var opening errgroup.Group
	opening.SetLimit(32)
	for _, token := range tokens {
		opening.Go(func() error {
			conn, err := grpc.NewClient(server.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})))
			if err != nil {
				return err
			}
			mu.Lock()
			connections = append(connections, conn)
			mu.Unlock()
			stream, err := insightsv1.NewIngestServiceClient(conn).StreamStats(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token.Reveal()))
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		})
	}
	return closeAll, opening.Wait()
}

// selfSigned makes a certificate for loopback, and its text for clients to trust.
func selfSigned() (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	return config, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

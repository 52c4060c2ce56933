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
func measureIdle(ctx context.Context, t *table, d database, s sizes) error {
	if d.cluster == nil {
		return nil
	}
	return d.with(ctx, func(name string, st *store.Store) error {
		s.Agents = s.Idle
		agents, _, _, err := newFleet(ctx, st, s)
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
		return withServer(ctx, name, func(child *serverProcess) error {
			before := processMemory(child.Process.Pid, "VmRSS:")
			closeAll, err := holdStreams(ctx, child.addresses, secrets)
			if err == nil {
				time.Sleep(s.WarmUp) // until the handshakes are forgotten
				t.add(d, "resident memory without agents", before, "MiB", "")
				t.add(
					d, fmt.Sprintf("resident memory with %d idle TLS agents", s.Idle), processMemory(child.Process.Pid, "VmRSS:"), "MiB",
					"≤ 450",
				)
			}
			return errors.Join(err, closeAll())
		}, tlsVariable+"=1")
	})
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
			conn, err := grpc.NewClient(
				server.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})),
			)
			if err != nil {
				return err
			}
			mu.Lock()
			connections = append(connections, conn)
			mu.Unlock()
			stream, err := insightsv1.NewIngestServiceClient(conn).StreamStats(
				metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token.Reveal()),
			)
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
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	return config, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

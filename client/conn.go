package client

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// maxAnswer bounds an answer, in bytes: the activity of a hundred thousand people fits.
const maxAnswer = 64 << 20

// serviceConfig lets questions and batches of usage be sent again when the server cannot answer, up to four times within some three
// seconds of waiting, and ends them after a minute. What a batch reports counts once however often it comes; other changes are sent once.
// Streams are left to their reporter, which resends.
const serviceConfig = `{
  "methodConfig": [{
    "name": [
      {"service": "insights.v1.InsightsService"},
      {"service": "insights.v1.IngestService", "method": "ReportStats"},
      {"service": "insights.v1.IngestService", "method": "ReportAppSessions"},
      {"service": "insights.v1.IngestService", "method": "ReportEvents"}
    ],
    "timeout": "60s",
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.2s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

// NewConn returns a connection to a server, such as "insights.example.com:9090", for whoever has the token: for a [Reporter] and
// for the generated clients of all services. It connects with the first call. Questions and batches of usage that
// are UNAVAILABLE are sent again. A broken connection is noticed within 30 seconds and made anew; while that fails, it is tried
// again after half a second and then after random times of up to 30 seconds.
//
// It is encrypted and trusts whom the machine trusts. Options come after those of its own and win, for example
// grpc.WithTransportCredentials with an authority or a certificate of yours, or with insecure credentials on loopback.
func NewConn(target string, token TokenSource, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(nil)),
		grpc.WithPerRPCCredentials(token),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A jitter of 1 spreads reconnections evenly from 0 to twice the delay.
			Backoff:           backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 2, Jitter: 1, MaxDelay: 15 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target, err)
	}
	return conn, nil
}

package client

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// TokenSource says as whom to call: it returns the token that goes with a call, anew for each, so that a token can change while
// the program runs. It is a [google.golang.org/grpc/credentials.PerRPCCredentials].
type TokenSource func() (string, error)

// Token is a token that never changes.
func Token(secret string) TokenSource {
	return func() (string, error) { return secret, nil }
}

// TokenFile is the token in a file, without the space around it, read for each call: who rotates it replaces the file. A call
// fails as UNAUTHENTICATED while the file cannot be read or is empty.
func TokenFile(path string) TokenSource {
	return func() (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		secret := strings.TrimSpace(string(text))
		if secret == "" {
			return "", fmt.Errorf("read token: %s is empty", path)
		}
		return secret, nil
	}
}

// GetRequestMetadata implements [google.golang.org/grpc/credentials.PerRPCCredentials].
func (s TokenSource) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	secret, err := s()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + secret}, nil
}

// RequireTransportSecurity implements [google.golang.org/grpc/credentials.PerRPCCredentials]. It is false: connections are
// encrypted unless the program asks gRPC for insecure credentials by name, on loopback or where something else protects it.
func (TokenSource) RequireTransportSecurity() bool { return false }

package server

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// callerAddressKey carries, from the gateway to the server, where a REST call came from.
const callerAddressKey = "insights-caller-address"

// callerAddress is where a call came from. What the metadata says is believed from the gateway only.
func callerAddress(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if !isInMemory(p.Addr) {
		return p.Addr.String()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get(callerAddressKey), ",")
}

func isInMemory(a net.Addr) bool { return a.Network() == "bufconn" }

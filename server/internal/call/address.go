package call

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// CallerAddressKey carries, from the gateway to the server, where a REST call came from.
const CallerAddressKey = "insights-caller-address"

// CallerAddress is where a call came from. What the metadata says is believed from the gateway only.
func CallerAddress(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if !IsInMemory(p.Addr) {
		return p.Addr.String()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get(CallerAddressKey), ",")
}

// ExportKey carries, from the gateway to the server, that the answer to a call becomes a file.
const ExportKey = "insights-export"

// IsExport reports whether the answer to a call becomes a file. What the metadata says is believed from the gateway only.
func IsExport(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	return ok && IsInMemory(p.Addr) && len(md.Get(ExportKey)) > 0
}

// IsInMemory reports whether an address is that of the gateway, which calls within the process.
func IsInMemory(a net.Addr) bool { return a.Network() == "bufconn" }

package guard

import (
	"context"
	"fmt"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// auditUnary writes calls down before they are carried out, if their rule says so: nothing that must be in the trail happens
// without it.
func (a *Authorizer) auditUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if a.Rules[info.FullMethod].Audit {
		if target := auditTarget(req.(proto.Message)); target != "" {
			p, action := call.PrincipalOf(ctx), path.Base(info.FullMethod)
			if isExport(ctx) {
				action += store.AuditAsFile
			}
			if err := a.Store.RecordAudit(ctx, p.Kind, p.ID, action, target); err != nil {
				return nil, call.Unavailable(err)
			}
		}
	}
	return handler(ctx, req)
}

// ExportKey carries, from the gateway to the server, that the answer to a call becomes a file.
const ExportKey = "insights-export"

// isExport says whether the answer becomes a file. The metadata is believed from the gateway only.
func isExport(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	return ok && call.IsInMemory(p.Addr) && len(md.Get(ExportKey)) > 0
}

// auditTarget is what the trail keeps of a request; empty if it is no event. Requests hold no secrets. Of the catalog only
// groups give rights.
func auditTarget(req proto.Message) string {
	if catalog, ok := req.(*insightsv1.ApplyCatalogRequest); ok {
		groups := &insightsv1.ApplyCatalogRequest{Groups: catalog.GetGroups()}
		if deleted := catalog.GetDeleted().GetGroups(); len(deleted) > 0 {
			groups.Deleted = &insightsv1.DeletedItems{Groups: deleted}
		}
		if len(groups.GetGroups()) == 0 && groups.GetDeleted() == nil {
			return ""
		}
		req = groups
	}
	if _, ok := req.(*insightsv1.EraseUserRequest); ok {
		req = &insightsv1.EraseUserRequest{} // a trail that says who was erased would bring them back
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(req)
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return string(text)
}

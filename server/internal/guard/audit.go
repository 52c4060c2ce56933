package guard

import (
	"context"
	"fmt"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
)

// auditUnary writes calls down before they are carried out, if their rule says so: nothing that must be in the trail happens
// without it.
func (a *Authorizer) auditUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if a.Rules[info.FullMethod].Audit {
		if target := auditTarget(req.(proto.Message)); target != "" {
			p := call.PrincipalOf(ctx)
			if err := a.Store.RecordAudit(ctx, p.Kind, p.ID, path.Base(info.FullMethod), target); err != nil {
				return nil, call.Unavailable(err)
			}
		}
	}
	return handler(ctx, req)
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

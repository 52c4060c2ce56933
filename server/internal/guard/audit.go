package guard

import (
	"context"
	"fmt"
	"path"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// auditUnary writes calls down before they are carried out, if their rule says so: nothing that must be in the trail happens
// without it. A question is looked into meanwhile, and is not answered before it is written down. A call that is no event by its request
// may turn out to be one: it can write itself down before it answers.
func (a *Authorizer) auditUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !a.Rules[info.FullMethod].Audit {
		return handler(ctx, req)
	}
	p, action := call.PrincipalOf(ctx), path.Base(info.FullMethod)
	if call.IsExport(ctx) {
		action += store.AuditAsFile
	}
	record := func(ctx context.Context, target string) error {
		if err := a.Store.RecordAudit(ctx, p.Kind, p.ID, action, target); err != nil {
			return call.Unavailable(err)
		}
		return nil
	}
	target := auditTarget(req.(proto.Message))
	switch {
	case target == "":
		return handler(call.WithTrail(ctx, func(ctx context.Context) error { return record(ctx, textOf(req.(proto.Message))) }), req)
	case path.Dir(info.FullMethod) == "/"+insightsv1.InsightsService_ServiceDesc.ServiceName:
		return answerRecorded(ctx, req, handler, func() error { return record(ctx, target) })
	}
	if err := record(ctx, target); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// answerRecorded answers a question, which changes nothing, once it is recorded; the answer is looked for meanwhile.
func answerRecorded(ctx context.Context, req any, handler grpc.UnaryHandler, record func() error) (answer any, err error) {
	var trail errgroup.Group
	trail.Go(record)
	defer func() {
		if unrecorded := trail.Wait(); unrecorded != nil {
			answer, err = nil, unrecorded
		}
	}()
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
	if q, ok := req.(*insightsv1.QueryUsageRequest); ok && !call.NamesPeople(q) {
		return ""
	}
	if q, ok := req.(*insightsv1.QueryValuesRequest); ok && !call.IsPersonal(q.GetDimension()) {
		return ""
	}
	return textOf(req)
}

// textOf is a request as the trail keeps it.
func textOf(req proto.Message) string {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(req)
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return string(text)
}

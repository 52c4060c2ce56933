package server

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// auditUnary writes calls down before they are carried out, if their rule says so: nothing that must be in the trail happens
// without it.
func (a *authorizer) auditUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if a.rules[info.FullMethod].audit {
		if target := auditTarget(req.(proto.Message)); target != "" {
			p := principalOf(ctx)
			if err := a.store.RecordAudit(ctx, p.Kind, p.ID, path.Base(info.FullMethod), target); err != nil {
				return nil, unavailable(err)
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

// ListAuditEvents implements [insightsv1.AccessServiceServer].
func (a *accessService) ListAuditEvents(ctx context.Context, req *insightsv1.ListAuditEventsRequest) (*insightsv1.ListAuditEventsResponse, error) {
	var f store.AuditFilter
	var err error
	for _, t := range []struct {
		field, text string
		to          *time.Time
	}{{"start_time", req.GetStartTime(), &f.Start}, {"end_time", req.GetEndTime(), &f.End}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = parseTime3339(t.field, t.text, nil); err != nil {
			return nil, err
		}
	}
	if p := req.GetPrincipal(); p != nil {
		f.PrincipalKind = access.Kind(p.GetKind())
		if p.GetId() != "" || f.PrincipalKind != store.KindCommandLine {
			if f.PrincipalID, err = parseID(p.GetId()); err != nil {
				return nil, invalid(messageInvalidValue, fieldError{"principal.id", err.Error()})
			}
		}
	}
	at, err := openPage(req, defaultPage)
	if err != nil {
		return nil, err
	}
	if at.after != nil {
		id, err := uuid.Parse(at.after.ID)
		if err != nil {
			return nil, errPageToken
		}
		f.Before = &store.AuditEvent{At: store.At(time.UnixMicro(-at.after.Rank)), ID: id}
	}
	f.Limit = at.size + 1
	events, err := a.store.AuditEvents(ctx, f)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.ListAuditEventsResponse{}
	if len(events) > at.size {
		events = events[:at.size]
		last := events[at.size-1]
		answer.NextPageToken = at.token(position{-last.At.UnixMicro(), last.ID.String()})
	}
	for _, e := range events {
		answer.Events = append(answer.Events, auditMessage(e))
	}
	return answer, nil
}

func auditMessage(e store.AuditEvent) *insightsv1.AuditEvent {
	return &insightsv1.AuditEvent{
		Id: e.ID.String(), At: timestamppb.New(e.At.Time), Action: e.Action, Target: e.Target,
		Principal: &insightsv1.Principal{Kind: string(e.PrincipalKind), Id: optionalID(e.PrincipalID)},
	}
}

package admin

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// ListAuditEvents implements [insightsv1.AccessServiceServer].
func (a *Access) ListAuditEvents(ctx context.Context, req *insightsv1.ListAuditEventsRequest) (*insightsv1.ListAuditEventsResponse, error) {
	var f store.AuditFilter
	var err error
	for _, t := range []struct {
		field, text string
		to          *time.Time
	}{{"start_time", req.GetStartTime(), &f.Start}, {"end_time", req.GetEndTime(), &f.End}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = insights.ParseTime3339(t.field, t.text, nil); err != nil {
			return nil, err
		}
	}
	if p := req.GetPrincipal(); p != nil {
		f.PrincipalKind = access.Kind(p.GetKind())
		if p.GetId() != "" || f.PrincipalKind != store.KindCommandLine {
			if f.PrincipalID, err = call.ParseID(p.GetId()); err != nil {
				return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{Field: "principal.id", Detail: err.Error()})
			}
		}
	}
	at, err := call.OpenPage(ctx, a.store, req, defaultPage)
	if err != nil {
		return nil, err
	}
	if at.After != nil {
		id, err := uuid.Parse(at.After.ID)
		if err != nil {
			return nil, call.ErrPageToken
		}
		f.Before = &store.AuditEvent{At: store.At(time.UnixMicro(-at.After.Rank)), ID: id}
	}
	f.Limit = at.Size + 1
	events, err := a.store.AuditEvents(ctx, f)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.ListAuditEventsResponse{}
	if len(events) > at.Size {
		events = events[:at.Size]
		last := events[at.Size-1]
		answer.NextPageToken = at.Token(call.Position{Rank: -last.At.UnixMicro(), ID: last.ID.String()})
	}
	for _, e := range events {
		answer.Events = append(answer.Events, auditMessage(e))
	}
	return answer, nil
}

func auditMessage(e store.AuditEvent) *insightsv1.AuditEvent {
	return &insightsv1.AuditEvent{
		Id: e.ID.String(), At: timestamppb.New(e.At.Time), Action: e.Action, Target: e.Target,
		Principal: &insightsv1.Principal{Kind: string(e.PrincipalKind), Id: call.OptionalID(e.PrincipalID)},
	}
}

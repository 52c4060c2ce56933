package server

import (
	"context"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// observed is what an answer found: of each section that it has.
type observed struct {
	insights   *store.TemplateInsights
	parameters *[]store.ParameterUsage
	activity   *int // users
	latency    *measured
}

// measured is how many active users there are, and of how many of them a latency is known.
type measured struct{ users, withSamples int }

func latencies(users []store.UserLatency) measured {
	m := measured{users: len(users)}
	for _, u := range users {
		if u.Samples > 0 {
			m.withSamples++
		}
	}
	return m
}

// reasons says why sections of an answer are empty or partial.
func (s *insightsService) reasons(context.Context, question, observed) ([]*insightsv1.SectionReason, error) {
	return nil, nil
}

// Package wiretest makes what travels to a server and reads what comes back, for tests of the server and of its rooms: bad
// values of fields, REST routes, certificates, JSON web tokens, scraped series. It knows no server.
package wiretest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Metric is a series that an agent forwards; labels are names and values in turn.
func Metric(name, kind string, value float64, labels ...string) *insightsv1.Metric {
	m := &insightsv1.Metric{Name: name, Type: kind, Value: value, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	return m
}

// Agent is the id of an agent.
const Agent = "11111111-1111-4111-8111-111111111111"

// Marshal is a message as it travels.
func Marshal(f *testing.F, m proto.Message) []byte {
	f.Helper()
	text, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// Within runs f and fails if it takes longer than a second.
func Within(t *testing.T, what string, f func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s takes longer than a second", what)
	}
}

// EachText calls f with every string of something that was JSON.
func EachText(value any, f func(string)) {
	switch v := value.(type) {
	case string:
		f(v)
	case []any:
		for _, member := range v {
			EachText(member, f)
		}
	case map[string]any:
		for _, member := range v {
			EachText(member, f)
		}
	}
}

// Week is the window of a question over REST.
const Week = "start_time=2023-08-07T00:00:00Z&end_time=2023-08-14T00:00:00Z"

// SessionAt is a report of an open editor.
func SessionAt(agent string, sequence uint64, at time.Time) *insightsv1.AgentReport {
	return &insightsv1.AgentReport{
		AgentId: agent, Sequence: sequence, CollectedAt: timestamppb.New(at), ConnectionCount: 1,
		SessionCounts: map[string]int64{"vscode": 1},
	}
}

// Instant reads a time of RFC 3339.
func Instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

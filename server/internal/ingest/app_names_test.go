package ingest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/storetest"
)

func TestNewNamesOfAnAgent(t *testing.T) {
	t.Parallel()
	now := storetest.Now.Truncate(24 * time.Hour)
	n := newAppNames(nil, func() time.Time { return now })
	template, first, second := uuid.New(), uuid.New(), uuid.New()
	admit := func(agent uuid.UUID, name string, want bool) {
		t.Helper()
		if got := n.admit(template, agent, name); got != want {
			t.Errorf("%s at %v: admitted: %t, want %t", name, now, got, want)
		}
	}
	for i := range MaxNewNames {
		admit(first, fmt.Sprint("name", i), true)
	}
	admit(first, "one more", false)
	admit(first, "name0", true)     // known already
	admit(second, "one more", true) // of another agent
	admit(first, "one more", true)  // and known now
	now = now.Add(59 * time.Second)
	admit(first, "late", false)
	now = now.Add(time.Second)
	admit(first, "late", true)
}

func TestNamesOfATemplate(t *testing.T) {
	t.Parallel()
	now := storetest.Now.Truncate(24 * time.Hour)
	n := newAppNames(nil, func() time.Time { return now })
	template := uuid.New()
	for i := range MaxAppNames {
		if !n.admit(template, uuid.Nil, fmt.Sprint("port", i)) {
			t.Fatalf("name %d is one too many", i)
		}
	}
	if n.admit(template, uuid.Nil, "one more") || n.admit(template, uuid.New(), "one more") {
		t.Error("one name too many")
	}
	if !n.admit(template, uuid.New(), "port0") || !n.admit(uuid.New(), uuid.Nil, "one more") {
		t.Error("a known name, or one of another template, is refused")
	}
	p := store.Placement{Template: template, Agent: uuid.New()}
	sessions := map[string]int64{"a": 1, "b": 2, "jetbrains": 3, "port1": 4, "ssh": 5, "unknown": 6}
	got := fmt.Sprint(n.bound(apps.BuiltIn(), p, sessions), sessions)
	if got != "[jetbrains port1 ssh unknown] map[jetbrains:3 port1:4 ssh:5 unknown:9]" {
		t.Errorf("sessions beyond the bound: %s", got)
	}
	sessions = map[string]int64{"a": math.MaxInt64, "b": math.MaxInt64}
	if n.bound(apps.BuiltIn(), p, sessions); sessions["unknown"] != math.MaxInt64 {
		t.Errorf("more sessions than there are numbers: %v", sessions)
	}
	now = now.Add(24*time.Hour - time.Second)
	if n.admit(template, uuid.Nil, "one more") {
		t.Error("one name too many at the end of the day")
	}
	now = now.Add(time.Second)
	if !n.admit(template, uuid.Nil, "one more") || len(n.templates) != 1 {
		t.Error("another day does not begin anew")
	}
}

package ingest

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestAgentsDue lets a report or none come before each turn and says whether the agent is written then.
func TestAgentsDue(t *testing.T) {
	begin := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	report := func(second int, change func(*agentReport)) *agentReport {
		r := &agentReport{
			agent: uuid.UUID{1}, collected: begin.Add(time.Duration(second) * time.Second), sessions: map[string]int64{"ssh": 1},
			version: "v1", direct: 1,
		}
		if change != nil {
			change(r)
		}
		return r
	}
	var a agentsSeen
	for i, turn := range []struct {
		report *agentReport
		due    int
		why    string
	}{
		{report(0, nil), 1, "it is new"},
		{report(60, nil), 0, "it is only there"},
		{report(119, nil), 0, "it is only there"},
		{report(120, nil), 1, "it was written two minutes ago"},
		{report(130, func(r *agentReport) { r.version = "v2" }), 1, "its version changed"},
		{report(140, func(r *agentReport) { r.version, r.region = "", "fra" }), 1, "its region changed"},
		{report(150, func(r *agentReport) { r.version, r.legacy = "v2", true }), 1, "the form of its sessions changed"},
		{report(160, func(r *agentReport) { r.version, r.legacy, r.relayed = "v2", true, 1 }), 1, "it is relayed for the first time"},
		{
			report(170, func(r *agentReport) { r.version, r.legacy, r.sessions = "v2", false, nil }), 0,
			"without sessions it says nothing of their form",
		},
		{nil, 1, "it fell silent after its last report was left out"},
		{nil, 0, "all is written"},
	} {
		if turn.report != nil {
			a.note(*turn.report, 7)
		} else if turn.due > 0 {
			for quiet := int64(1); quiet < touchQuiet; quiet++ {
				if due := a.due(); len(due) > 0 {
					t.Fatalf("%d agents are due after %d turns without a report", len(due), quiet)
				}
			}
		}
		due := a.due()
		if len(due) != turn.due {
			t.Fatalf("turn %d: %d agents are due, want %d: %s", i, len(due), turn.due, turn.why)
		}
		if turn.due == 1 && turn.report != nil && !due[0].LastSeenAt.Equal(turn.report.collected) {
			t.Errorf("turn %d: last seen at %v, want %v", i, due[0].LastSeenAt, turn.report.collected)
		}
	}
	if len(a.states) != 0 {
		t.Errorf("%d agents are remembered, want none", len(a.states))
	}
	a.note(*report(200, nil), 7)
	a.again(a.due())
	if n := len(a.due()); n != 1 {
		t.Errorf("%d agents are due after a write that failed, want 1", n)
	}
}

// The region of a seat is that of the newest report with connections, and is written when it changes, again if that failed.
func TestRegionOfASeat(t *testing.T) {
	begin := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	var a agentsSeen
	for i, turn := range []struct {
		minute      int
		region      string
		connections int64
		fails       bool
		want        string
	}{
		{0, "", 1, false, ""},
		{1, "fra", 0, false, ""},
		{2, "fra", 1, false, "fra"},
		{3, "fra", 1, false, ""},
		{1, "nyc", 1, false, ""}, // late: it is not the newest
		{40, "nyc", 1, true, "nyc"},
		{40, "", 1, false, "nyc"}, // the write failed
		{41, "", 1, false, ""},
	} {
		a.note(agentReport{
			agent: uuid.UUID{1}, collected: begin.Add(time.Duration(turn.minute) * time.Minute), region: turn.region,
			connections: turn.connections,
		}, 7)
		got, due := "", a.due()
		for _, d := range due {
			if d.Reached != nil {
				got = d.Reached.Region
				if d.Reached.Subject != 7 || d.Reached.HalfHour != int32(begin.Unix()/1800)+int32(turn.minute/30) {
					t.Errorf("turn %d: %+v", i, *d.Reached)
				}
			}
		}
		if got != turn.want {
			t.Errorf("turn %d: region %q is written, want %q", i, got, turn.want)
		}
		if turn.fails {
			a.again(due)
		}
	}
	a.note(agentReport{agent: uuid.UUID{1}, collected: begin.Add(time.Hour), region: "nyc", connections: 1}, 8)
	if due := a.due(); len(due) != 1 || due[0].Reached == nil || due[0].Reached.Subject != 8 || due[0].Reached.Region != "nyc" {
		t.Errorf("under another owner %+v is written", due)
	}
}

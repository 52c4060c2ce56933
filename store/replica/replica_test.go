package replica

import (
	"database/sql"
	"strings"
	"testing"
	"time"
)

// How far a replica is behind is told by the log that both have.
func TestBehind(t *testing.T) {
	t.Parallel()
	now := time.Date(2023, 8, 22, 12, 0, 0, 0, time.UTC)
	p := primary{position: 1000, at: now}
	replayed, ahead := sql.NullTime{Time: now.Add(-3 * time.Second), Valid: true}, sql.NullTime{Time: now.Add(time.Second), Valid: true}
	for name, c := range map[string]struct {
		at   progress
		want time.Duration
	}{
		"as far":             {progress{position: 1000, replayed: replayed}, 0},
		"further by now":     {progress{position: 1200, replayed: replayed}, 0},
		"not as far":         {progress{position: 999, replayed: replayed}, 3 * time.Second},
		"ahead by the clock": {progress{position: 999, replayed: ahead}, 0},
	} {
		if got := c.at.behind(p, time.Second); got != c.want+time.Second {
			t.Errorf("%s: %v a second later, want %v", name, got, c.want+time.Second)
		}
	}
	if got := (progress{}).behind(p, time.Second); got < time.Hour {
		t.Errorf("a replica that replayed nothing since it started is %v behind", got)
	}
}

// What is no replica of a primary says why.
func TestFollows(t *testing.T) {
	t.Parallel()
	p := primary{identity: "1/2/public", timeline: 2}
	for want, at := range map[string]progress{
		"":                          {identity: "1/2/public", timeline: 2, replays: true},
		"it is 1/3/public":          {identity: "1/3/public", timeline: 2, replays: true},
		"it is a primary":           {identity: "1/2/public", timeline: 2},
		"is on timeline 1, the dat": {identity: "1/2/public", timeline: 1, replays: true},
	} {
		if err := at.follows(p); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", at, err, want)
		}
	}
}

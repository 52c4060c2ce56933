package replica

import (
	"database/sql"
	"testing"
	"time"
)

// How far a replica is behind is told by the log, and by the commits in it where two logs went apart.
func TestBehind(t *testing.T) {
	t.Parallel()
	now := time.Date(2023, 8, 22, 12, 0, 0, 0, time.UTC)
	p := primary{position: 1000, mark: 7, at: now}
	replayed := sql.NullTime{Time: now.Add(-3 * time.Second), Valid: true}
	ahead := sql.NullTime{Time: now.Add(time.Second), Valid: true}
	for name, c := range map[string]struct {
		at   progress
		want time.Duration
	}{
		"as far":                 {progress{position: 1000, mark: 7, replayed: replayed}, 0},
		"further by now":         {progress{position: 1200, mark: 8, replayed: replayed}, 0},
		"not as far":             {progress{position: 999, mark: 7, replayed: replayed}, 3 * time.Second},
		"further in another log": {progress{position: 2000, mark: 6, replayed: replayed}, 3 * time.Second},
		"ahead by the clock":     {progress{position: 999, mark: 7, replayed: ahead}, 0},
	} {
		if got := c.at.behind(p); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := (progress{}).behind(p); got < time.Hour {
		t.Errorf("a replica that replayed nothing since it started is %v behind", got)
	}
}

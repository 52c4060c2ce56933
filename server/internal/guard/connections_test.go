package guard

import (
	"log/slog"
	"testing"
)

// Of all connections one address has at most half; who closes one makes room.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	l := LimitConnections(nil, 6, slog.New(slog.DiscardHandler)).(*limitedListener)
	for i, c := range []struct {
		from string
		want bool
	}{
		{"a", true},
		{"a", true},
		{"a", true},
		{"a", false},
		{"b", true},
		{"b", true},
		{"c", true},
		{"c", false},
		{"b", false},
		{"d", false},
	} {
		if got := l.enter(c.from); got != c.want {
			t.Errorf("connection %d, from %s: let in: %t, want %t", i, c.from, got, c.want)
		}
	}
	l.leave("a")
	if l.enter("a") != true || l.enter("d") != false {
		t.Error("who leaves makes room for one")
	}
	for _, from := range []string{"a", "a", "a", "b", "b", "c"} {
		l.leave(from)
	}
	if l.open != 0 || len(l.networks) != 0 {
		t.Errorf("in the end %d connections are open, from %v", l.open, l.networks)
	}
	if l := LimitConnections(nil, 1, nil).(*limitedListener); !l.enter("a") || l.enter("a") {
		t.Error("of one connection there is one")
	}
}

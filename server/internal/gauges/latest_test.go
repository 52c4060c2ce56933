package gauges

import "testing"

// What was read before a snapshot was dropped does not come back; what is read afterwards comes.
func TestLatest(t *testing.T) {
	t.Parallel()
	var l latest[int]
	early := l.begin()
	l.store(new(int), early)
	l.drop()
	if got := l.load(); got != nil {
		t.Errorf("dropped: %v", got)
	}
	l.store(new(int), early)
	if got := l.load(); got != nil {
		t.Errorf("begun before it was dropped: %v", got)
	}
	want := new(int)
	l.store(want, l.begin())
	if got := l.load(); got != want {
		t.Errorf("begun afterwards: %p, want %p", got, want)
	}
}

package gauges

import "sync"

// latest is the newest snapshot of something. What was read before it was dropped does not come back.
type latest[T any] struct {
	mu       sync.Mutex
	snapshot *T
	drops    int
}

// load returns the snapshot; nil: there is none.
func (l *latest[T]) load() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshot
}

// drop forgets the snapshot.
func (l *latest[T]) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshot = nil
	l.drops++
}

// begin returns what a reading that begins now gives to store at its end.
func (l *latest[T]) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drops
}

// store takes a snapshot, unless the one before was dropped since reading began.
func (l *latest[T]) store(snapshot *T, begun int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drops == begun {
		l.snapshot = snapshot
	}
}

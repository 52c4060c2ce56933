package usage

import (
	"context"
	"sync"

	"gorm.io/gorm"

	"github.com/template-insights/insights/store/minute"
)

// maxLooking is how many looks at everybody's present are at work in one database. Two, so that the two questions of a page that come one
// right after the other do not wait for each other.
const maxLooking = 2

// looks lets questions about everybody share what they read of the present. A look is shared by the questions that came before it began,
// so that none misses what was acknowledged before it was asked.
type looks struct {
	mu      sync.Mutex
	next    map[lookAt]*look           // that questions may still join
	looking map[*gorm.DB]chan struct{} // holds one for each look at work
}

// lookAt is what looks have in common that are the same.
type lookAt struct {
	from      *gorm.DB // the primary, or a replica
	part      pageColumn
	halfHours string // which ones, as the statement names them
}

// look is one reading of rows of the present.
type look struct {
	ended chan struct{} // closed when the fields below are set

	found     map[Place][]minute.Row // of all templates, in page order; nobody changes them
	err       error
	abandoned bool // the question that ran it was given up; the others look again
}

func newLooks() *looks {
	return &looks{next: map[lookAt]*look{}, looking: map[*gorm.DB]chan struct{}{}}
}

// share returns what read finds when it begins after the call of share did.
func (s *looks) share(
	ctx context.Context, at lookAt, read func(context.Context) (map[Place][]minute.Row, error),
) (map[Place][]minute.Row, error) {
	for ctx.Err() == nil {
		l, first := s.join(at)
		if first {
			s.run(ctx, at, l, read)
		}
		select {
		case <-l.ended:
			if !l.abandoned {
				return l.found, l.err
			}
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// join returns the next look. The first question of a look has to run it.
func (s *looks) join(at lookAt) (l *look, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l = s.next[at]
	if first = l == nil; first {
		l = &look{ended: make(chan struct{})}
		s.next[at] = l
	}
	return l, first
}

// run waits until fewer than maxLooking looks are at work, closes the look for further questions, and reads.
func (s *looks) run(ctx context.Context, at lookAt, l *look, read func(context.Context) (map[Place][]minute.Row, error)) {
	defer close(l.ended)
	l.abandoned = true // should this panic
	looking := s.of(at.from)
	select {
	case looking <- struct{}{}:
		defer func() { <-looking }()
	case <-ctx.Done():
	}
	s.mu.Lock()
	delete(s.next, at)
	s.mu.Unlock()
	l.found, l.err = read(ctx)
	l.abandoned = l.err != nil && ctx.Err() != nil
}

// of is where the looks at work in a database are counted.
func (s *looks) of(database *gorm.DB) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looking[database] == nil {
		s.looking[database] = make(chan struct{}, maxLooking)
	}
	return s.looking[database]
}

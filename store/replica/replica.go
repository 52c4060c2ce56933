// Package replica chooses servers of Postgres that answer questions in place of the primary whose log they replay. It knows how far
// each has come, and asks again for every question: nothing runs in the background.
package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

const (
	checkTimeout = 10 * time.Second
	// patience is how long a question waits for replicas: to tell how far they are, and to have what was acknowledged before.
	patience = time.Second
	pause    = 5 * time.Millisecond // between two looks
	// rest is how long a replica is left out that failed, or had not come as far as it should.
	rest = 10 * time.Second
)

// Replica is a server that replays the log of the primary.
type Replica struct {
	Name string // without credentials
	DB   *gorm.DB

	out atomic.Int64 // until when it is left out, in nanoseconds since the Unix epoch
}

// Set is the replicas of a primary. It is safe for concurrent use.
type Set struct {
	primary  *gorm.DB
	replicas []*Replica
	longest  time.Duration
	turn     atomic.Uint32
	changes  atomic.Int64

	mu     sync.Mutex
	known  int64 // the changes that needed covers
	needed int64 // the position in the log that a replica must have replayed
}

// New returns the set of a primary's replicas. Those that are further behind than longest are not chosen.
func New(primary *gorm.DB, replicas []*Replica, longest time.Duration) *Set {
	return &Set{primary: primary, replicas: replicas, longest: longest}
}

// Acknowledge notes that a change is committed on the primary, before anybody is told: what is chosen from now on has it.
func (s *Set) Acknowledge() { s.changes.Add(1) }

// Check fails if a server answers that is not of the primary's cluster. One that does not answer may come later, and one that is a
// primary now, after a failover, may be a replica again.
func (s *Set) Check(ctx context.Context) error {
	if len(s.replicas) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	p, err := s.position(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range s.replicas {
		at, err := r.progress(ctx)
		if err == nil && at.system != p.system {
			errs = append(errs, fmt.Errorf(
				"%s is no replica of the database: its system identifier is %s, that of the database %s", r.Name, at.system, p.system,
			))
		}
	}
	return errors.Join(errs...)
}

// Choose returns the replica that answers the next question and how far it is behind the primary, or nil where the primary has to
// answer: if all replicas are left out, are not the primary's, lack what was acknowledged, or are too far behind.
func (s *Set) Choose(ctx context.Context) (*Replica, time.Duration) {
	start, now := int(s.turn.Add(1)), time.Now()
	var candidates []*Replica
	for i := range s.replicas {
		if r := s.replicas[(start+i)%len(s.replicas)]; r.out.Load() < now.UnixNano() {
			candidates = append(candidates, r)
		}
	}
	if len(candidates) == 0 {
		return nil, 0
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	changes := s.changes.Load()
	p, err := s.position(ctx)
	if err != nil {
		return nil, 0
	}
	needed := s.need(changes, p.position)
	for _, r := range candidates {
		if behind, ok := r.reach(ctx, p, needed, s.longest); ok {
			return r, behind
		}
		r.LeaveOut()
	}
	return nil, 0
}

// CommitMark returns the highest mark of commits that a replica has, where the primary does not say.
func (s *Set) CommitMark(ctx context.Context) (mark int64, err error) {
	answered, errs := false, []error{errors.New("no replica answers")}
	for _, r := range s.replicas {
		at, err := r.progress(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answered, mark = true, max(mark, at.mark)
	}
	if !answered {
		return 0, errors.Join(errs...)
	}
	return mark, nil
}

// Close ends the connections to all replicas.
func (s *Set) Close() error {
	var errs []error
	for _, r := range s.replicas {
		raw, err := r.DB.DB()
		if err == nil {
			err = raw.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// LeaveOut has others answer for a while.
func (r *Replica) LeaveOut() { r.out.Store(time.Now().Add(rest).UnixNano()) }

// need is the position that a replica must have replayed to have a number of changes, at a time when the primary is at another.
func (s *Set) need(changes, position int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changes > s.known {
		s.known, s.needed = changes, position
	}
	return s.needed
}

// reach waits until the replica has replayed what is needed, and returns how far it is behind the primary then. It fails if there is
// no hope of that.
func (r *Replica) reach(ctx context.Context, p primary, needed int64, longest time.Duration) (behind time.Duration, ok bool) {
	for {
		at, err := r.progress(ctx)
		if err != nil || !at.replays || at.system != p.system {
			return 0, false
		}
		if behind = at.behind(p); behind > longest {
			return 0, false
		}
		if at.position >= needed {
			return behind, true
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(pause):
		}
	}
}

// primary is where the primary is.
type primary struct {
	system   string // what its replicas are copies of
	position int64  // in its log, in bytes
	mark     int64  // of commits, which every server counts up
	at       time.Time
}

func (s *Set) position(ctx context.Context) (p primary, err error) {
	err = s.primary.WithContext(ctx).Raw(`SELECT CAST(system_identifier AS text), CAST(pg_current_wal_lsn() - '0/0' AS bigint),
		(SELECT COALESCE(MAX(number), 0) FROM commit_mark), clock_timestamp() FROM pg_control_system()`).
		Row().Scan(&p.system, &p.position, &p.mark, &p.at)
	if err != nil {
		return p, fmt.Errorf("read the position of the primary: %w", err)
	}
	return p, nil
}

// progress is how far a replica is.
type progress struct {
	system   string
	replays  bool
	position int64
	mark     int64
	replayed sql.NullTime // when what it replayed last was committed, by the clock of the primary
}

func (r *Replica) progress(ctx context.Context) (at progress, err error) {
	err = r.DB.WithContext(ctx).Raw(`SELECT CAST(system_identifier AS text), pg_is_in_recovery(),
		CAST(COALESCE(pg_last_wal_replay_lsn(), '0/0') - '0/0' AS bigint), (SELECT COALESCE(MAX(number), 0) FROM commit_mark),
		pg_last_xact_replay_timestamp() FROM pg_control_system()`).
		Row().Scan(&at.system, &at.replays, &at.position, &at.mark, &at.replayed)
	if err != nil {
		return at, fmt.Errorf("read the progress of %s: %w", r.Name, err)
	}
	return at, nil
}

// behind is how much time of the primary is missing. The position alone does not tell: a replica that follows a primary of before may
// be further in another log, and is told by the mark.
func (at progress) behind(p primary) time.Duration {
	if at.position >= p.position && at.mark >= p.mark {
		return 0
	}
	return max(0, p.at.Sub(at.replayed.Time))
}

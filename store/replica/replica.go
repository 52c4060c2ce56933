// Package replica chooses servers of Postgres that answer questions in place of the primary whose log they replay. It knows how far
// each has come, and asks again for every question: nothing runs in the background.
package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
)

const (
	checkTimeout = 10 * time.Second // of one look at all replicas, at the start
	// patience is how long a question waits for all replicas together: to tell how far they are, and to have what was acknowledged.
	patience = time.Second
	pause    = 5 * time.Millisecond // between two looks
	// rest is how long a replica is left out that failed, or had not come as far as it should.
	rest = 10 * time.Second
)

// Replica is a server that replays the log of the primary.
type Replica struct {
	Name    string // without credentials
	Address string // host:port
	DB      *gorm.DB

	// until when it is left out, in nanoseconds since the Unix epoch; 0: it answered a question since, or was never left out
	out atomic.Int64
	lag atomic.Int64 // how far it was behind when it last said that, in nanoseconds
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

// Check fails if a server answers that is not of the primary's cluster, has another database, or lets nobody in. One that does not
// answer may come later, and one that is a primary now, after a failover, may be a replica again.
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
		var said *pgconn.PgError
		switch {
		case err == nil && at.identity != p.identity:
			errs = append(errs, fmt.Errorf("%s %w", r.Name, at.follows(p)))
		case errors.As(err, &said) && slices.ContainsFunc([]string{"08P01", "28", "3D", "42"}, func(class string) bool {
			return strings.HasPrefix(said.Code, class) // a pooler, who asks, the database, tables
		}):
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Choice is who answers a question.
type Choice struct {
	Replica *Replica      // nil: the primary
	Behind  time.Duration // how much of the primary may be missing
	LeftOut error         // why replicas were left out just now
}

// Choose returns who answers the next question: a replica, or the primary if all replicas are left out, are not the primary's, lack what
// was acknowledged, or are too far behind.
func (s *Set) Choose(ctx context.Context) Choice {
	start, now := int(s.turn.Add(1)), time.Now()
	var candidates []*Replica
	for i := range s.replicas {
		if r := s.replicas[(start+i)%len(s.replicas)]; r.out.Load() < now.UnixNano() {
			candidates = append(candidates, r)
		}
	}
	if len(candidates) == 0 {
		return Choice{}
	}
	changes := s.changes.Load()
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := s.position(asking)
	if err != nil { // the primary says so itself
		return Choice{}
	}
	needed := s.need(changes, p.position)
	var errs []error
	for _, r := range candidates {
		behind, err := r.reach(ctx, p, needed, s.longest, patience/time.Duration(len(candidates)))
		switch {
		case err == nil:
			r.out.Store(0)
			return Choice{r, behind, errors.Join(errs...)}
		case ctx.Err() != nil: // who asks has gone, which is nobody's fault
			return Choice{LeftOut: errors.Join(errs...)}
		}
		r.LeaveOut()
		errs = append(errs, err)
	}
	return Choice{LeftOut: errors.Join(errs...)}
}

// CommitMark returns the highest mark of commits that a replica has, where the primary does not say.
func (s *Set) CommitMark(ctx context.Context) (mark int64, err error) {
	answered, errs := false, []error{errors.New("no replica answers")}
	for _, r := range s.replicas {
		reading, cancel := context.WithTimeout(ctx, patience/time.Duration(len(s.replicas)))
		at, err := r.progress(reading)
		cancel()
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

// All returns the replicas of the set.
func (s *Set) All() []*Replica { return s.replicas }

// Used reports whether questions may be answered by it, as of the last one that asked for a replica.
func (r *Replica) Used() bool { return r.out.Load() == 0 }

// Lag is how far it was behind the primary when it last said that, in seconds; infinite if it replayed nothing since it started.
func (r *Replica) Lag() float64 {
	if lag := time.Duration(r.lag.Load()); lag < unknown {
		return lag.Seconds()
	}
	return math.Inf(1)
}

// need is the position that a replica must have replayed to have a number of changes, at a time when the primary is at another.
func (s *Set) need(changes, position int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changes > s.known {
		s.known, s.needed = changes, position
	}
	return s.needed
}

// reach waits, for some time at most, until the replica has replayed what is needed, and returns how far it is behind the primary then.
// It fails if there is no hope of that.
func (r *Replica) reach(ctx context.Context, p primary, needed int64, longest, most time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		at, err := r.progress(ctx)
		if err != nil {
			return 0, err
		}
		if err := at.follows(p); err != nil {
			return 0, fmt.Errorf("%s %w", r.Name, err)
		}
		behind := at.behind(p, time.Since(p.read))
		r.lag.Store(int64(behind))
		if behind > longest {
			return 0, fmt.Errorf("%s is %v behind", r.Name, behind)
		}
		if at.position >= needed {
			return behind, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s lacks what was acknowledged, %v behind", r.Name, behind)
		case <-time.After(pause):
		}
	}
}

// identity is what a primary and its replicas have in common: the cluster, and the database and schema in it.
const identity = `CAST(system_identifier AS text) || '/' ||
	(SELECT CAST(oid AS text) FROM pg_database WHERE datname = current_database()) || '/' || COALESCE(current_schema(), '')`

// Identity is that of the database that a connection leads to, whichever way it goes.
func Identity(ctx context.Context, db *gorm.DB) (of string, err error) {
	if err := db.WithContext(ctx).Raw(`SELECT ` + identity + ` FROM pg_control_system()`).Row().Scan(&of); err != nil {
		return "", fmt.Errorf("read which database it is: %w", err)
	}
	return of, nil
}

// primary is where the primary is.
type primary struct {
	identity string
	timeline int64 // which of the logs that began with the same
	position int64 // in it, in bytes
	at       time.Time
	read     time.Time // when that was asked, by the clock of this program
}

func (s *Set) position(ctx context.Context) (p primary, err error) {
	p.read = time.Now()
	var timeline string
	err = s.primary.WithContext(ctx).Raw(`SELECT `+identity+`, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
		CAST(pg_current_wal_lsn() - '0/0' AS bigint), clock_timestamp() FROM pg_control_system()`).
		Row().Scan(&p.identity, &timeline, &p.position, &p.at)
	if err == nil {
		p.timeline, err = strconv.ParseInt(timeline, 16, 64)
	}
	if err != nil {
		return p, fmt.Errorf("read the position of the primary: %w", err)
	}
	return p, nil
}

// progress is how far a replica is.
type progress struct {
	identity string
	replays  bool
	timeline int64 // of the last point from which it would start again
	position int64
	mark     int64        // of commits, which every server counts up
	replayed sql.NullTime // when what it replayed last was committed, by the clock of the primary
}

func (r *Replica) progress(ctx context.Context) (at progress, err error) {
	err = r.DB.WithContext(ctx).Raw(`SELECT `+identity+`, pg_is_in_recovery(), (SELECT timeline_id FROM pg_control_checkpoint()),
		CAST(COALESCE(pg_last_wal_replay_lsn(), '0/0') - '0/0' AS bigint), (SELECT COALESCE(MAX(number), 0) FROM commit_mark),
		pg_last_xact_replay_timestamp() FROM pg_control_system()`).
		Row().Scan(&at.identity, &at.replays, &at.timeline, &at.position, &at.mark, &at.replayed)
	if err != nil {
		return at, fmt.Errorf("read the progress of %s: %w", r.Name, err)
	}
	return at, nil
}

// follows says why it is no replica of the primary.
func (at progress) follows(p primary) error {
	switch {
	case at.identity != p.identity:
		return fmt.Errorf("is no replica of the database: it is %s, the database is %s", at.identity, p.identity)
	case !at.replays:
		return errors.New("replays nothing: it is a primary")
	case at.timeline != p.timeline: // positions in two logs cannot be compared
		return fmt.Errorf("is on timeline %d, the database on %d", at.timeline, p.timeline)
	}
	return nil
}

// unknown is how far a replica may be behind that replayed nothing since it started.
const unknown = math.MaxInt64 / 2

// behind is how much time of the primary is missing, some time after it was asked.
func (at progress) behind(p primary, after time.Duration) time.Duration {
	switch {
	case at.position >= p.position:
		return after
	case !at.replayed.Valid:
		return unknown
	}
	return max(0, p.at.Sub(at.replayed.Time)) + after
}

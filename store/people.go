package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/label"
	"github.com/template-insights/insights/store/minute"
)

// personRow is the number of a person that a user is.
type personRow struct {
	Person int64
	UserID uuid.UUID
}

// TableName implements the naming of GORM.
func (personRow) TableName() string { return "people" }

// Visit is a user at a workspace. uuid.Nil is no workspace that is known.
type Visit struct{ User, Workspace uuid.UUID }

// Subjects returns the numbers under which the usage of visits is kept. A user seen for the first time becomes a person with a random
// number, and gets a seat at each workspace. It does not ask whether users and workspaces exist, but a user who was erased gets no number,
// and nobody gets one at a workspace that was erased with its owner.
func (s *Store) Subjects(ctx context.Context, visits []Visit) (map[Visit]int64, error) {
	subjects, err := s.KnownSubjects(ctx, visits)
	if err != nil {
		return nil, err
	}
	unknown := slices.DeleteFunc(slices.Clone(visits), func(v Visit) bool { return subjects[v] != 0 })
	if len(unknown) == 0 {
		return subjects, nil
	}
	var given map[Visit]int64
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		visits, err := s.unerased(tx, unknown)
		if err != nil {
			return err
		}
		people, err := s.makePeople(tx, visits)
		if err != nil {
			return err
		}
		if err := makeSeats(tx, visits, people); err != nil {
			return err
		}
		if given, err = readSeats(tx, visits, people); err != nil {
			return err
		}
		for _, v := range visits {
			if person, known := people[v.User]; known && given[v] == 0 {
				given[v] = minute.SubjectOf(person, 0) // all numbers of seats are taken
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d visits: %w", len(visits), err)
	}
	maps.Copy(subjects, given)
	return subjects, nil
}

// KnownSubjects returns the numbers of the visits that have one.
func (s *Store) KnownSubjects(ctx context.Context, visits []Visit) (subjects map[Visit]int64, err error) {
	lookups := s.db.Lookups.WithContext(ctx)
	people, err := s.knownPeople(lookups, usersOf(visits))
	if err == nil {
		subjects, err = readSeats(lookups, visits, people)
	}
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d visits: %w", len(visits), err)
	}
	return subjects, nil
}

// unerased are the visits at workspaces that were not erased. Until the transaction ends nobody is erased: whoever erases waits for all who
// read tombstones.
func (s *Store) unerased(tx *gorm.DB, visits []Visit) ([]Visit, error) {
	var workspaces []uuid.UUID
	for _, v := range visits {
		if v.Workspace != uuid.Nil {
			workspaces = append(workspaces, v.Workspace)
		}
	}
	erased, err := s.erased(tx, workspaces)
	return slices.DeleteFunc(slices.Clone(visits), func(v Visit) bool { return erased[v.Workspace] }), err
}

func usersOf(visits []Visit) []uuid.UUID {
	users := make(map[uuid.UUID]bool, len(visits))
	for _, v := range visits {
		users[v.User] = true
	}
	return slices.SortedFunc(maps.Keys(users), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// makePeople returns the persons that the users of visits are, also those who become one only now.
func (s *Store) makePeople(tx *gorm.DB, visits []Visit) (map[uuid.UUID]int64, error) {
	users := usersOf(visits)
	ids, err := s.idsToKeep(tx, users)
	if err != nil {
		return nil, err
	}
	var fresh []personRow
	for _, user := range users {
		if id, may := ids[user]; may {
			fresh = append(fresh, personRow{1 + rand.Int64N(minute.MaxPerson), id})
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	slices.SortFunc(fresh, func(a, b personRow) int { return bytes.Compare(a.UserID[:], b.UserID[:]) })
	// No conflict target: a number that is taken already is not given twice either.
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(fresh, writeBatch).Error; err != nil {
		return nil, err
	}
	people, err := s.knownPeople(tx, users)
	for _, user := range users {
		if _, may := ids[user]; may && err == nil && people[user] == 0 {
			err = fmt.Errorf("person of user %s: the random number is taken: %w", user, ErrConflict)
		}
	}
	return people, err
}

// knownPeople are the persons that users are, of those who are one: of those who are several, the one as whom all are counted.
func (s *Store) knownPeople(tx *gorm.DB, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	kept, err := s.keptAs(tx, users)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(users))
	for i, user := range users {
		ids[i] = idIn(kept, user)
	}
	known := make(map[uuid.UUID]int64, len(users))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []personRow
		err := tx.Raw(`SELECT person, user_id FROM people WHERE user_id IN ? AND counted_as IS NULL`, batch).Scan(&found).Error
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			known[f.UserID] = f.Person
		}
	}
	people := make(map[uuid.UUID]int64, len(known))
	for i, user := range users {
		if person, ok := known[ids[i]]; ok {
			people[user] = person
		}
	}
	return people, nil
}

// person is the user who a person of a tally is.
type person struct {
	Person    int64
	ID        uuid.UUID // uuid.Nil: none that the catalog knows
	Username  string
	Place     string // as [PlaceOf]; empty without a user
	AvatarURL string
	Kind      string
	DeletedAt int64 // as an [Instant] is kept; 0: is in the catalog
}

// PlaceOf orders users: by name, as [label.Key] does, and those whose names are alike by id.
func PlaceOf(username string, user uuid.UUID) string {
	return label.Key(username) + "\x00" + user.String()
}

// names remembers who persons are as of a version. Whatever changes that raises the version in the same transaction.
type names struct {
	mu      sync.Mutex
	version Instant
	begun   time.Time         // when the first of them was read
	people  map[int64]*person // that nobody changes any more
}

// versionLifetime is how long what is remembered by a version counts at most: while servers are replaced, one of before changes it and
// raises no version.
const versionLifetime = time.Minute

// count reports whether what is remembered counts at a version.
func (n *names) count(version Instant) bool {
	return n.people != nil && n.version.Equal(version.Time) && time.Since(n.begun) < versionLifetime // the real clock: about age alone
}

// of returns persons in the order of the users, nil for those who are not remembered, and the numbers of those.
func (n *names) of(version Instant, users []minute.UserTally) (people []*person, unknown []int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	people = make([]*person, len(users))
	count := n.count(version)
	for i, u := range users {
		if p, known := n.people[u.Person]; known && count {
			people[i] = p
		} else {
			unknown = append(unknown, u.Person)
		}
	}
	return people, unknown
}

// add remembers persons who were read after a version.
func (n *names) add(version Instant, people map[int64]*person) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.count(version) || len(n.people)+len(people) > maxDirectory {
		n.version, n.begun, n.people = version, time.Now(), make(map[int64]*person, len(people))
	}
	maps.Copy(n.people, people)
}

// Forget forgets the names of people, and what their workspaces were started with. The owner of the store calls it after users were erased.
func (s *Store) Forget(context.Context) error {
	s.starts.forget()
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	s.names.people = nil
	return nil
}

// raiseNames gives the names of people their next version. A transaction that changes users, or which user a person is, does it last, so
// that no other one waits for long.
func raiseNames(tx *gorm.DB) error {
	if _, err := raise(tx, "names_version"); err != nil {
		return fmt.Errorf("raise version of names: %w", err)
	}
	return nil
}

// people are the persons behind the users of a tally, in their order. What is remembered counts if it has the version that is current after
// the call began.
func (s *Store) people(ctx context.Context, users []minute.UserTally) ([]*person, error) {
	var version Instant
	err := s.db.Reads.WithContext(ctx).Raw(`SELECT COALESCE(MAX(version), 0) FROM names_version`).Row().Scan(&version)
	if err != nil {
		return nil, fmt.Errorf("read version of names: %w", err)
	}
	people, unknown := s.names.of(version, users)
	if len(unknown) == 0 {
		return people, nil
	}
	read, err := s.readPeople(ctx, unknown)
	if err != nil {
		return nil, err
	}
	s.names.add(version, read)
	for i, u := range users {
		if people[i] == nil {
			people[i] = read[u.Person]
		}
	}
	return people, nil
}

// readPeople reads who persons are.
func (s *Store) readPeople(ctx context.Context, numbers []int64) (map[int64]*person, error) {
	people, all := make(map[int64]*person, len(numbers)), make([]person, len(numbers))
	for i, number := range numbers {
		all[i].Person = number
		people[number] = &all[i]
	}
	condition, argument := s.db.Among("people.person", numbers)
	query := s.db.Reads.WithContext(ctx).Raw(
		`SELECT people.person, users.id, users.username, users.avatar_url, users.kind, users.deleted_at
		FROM people JOIN users ON users.id = people.user_id WHERE `+condition, argument)
	err := s.db.Rows(query, func(r db.Records) error {
		var p person
		return r.Each(func() error {
			p.Place = PlaceOf(p.Username, p.ID)
			*people[p.Person] = p
			return nil
		}, &p.Person, r.ID(&p.ID), &p.Username, &p.AvatarURL, &p.Kind, &p.DeletedAt)
	})
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	return people, nil
}

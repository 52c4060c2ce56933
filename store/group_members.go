package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/minute"
)

// GroupMember says that a user was in a group from a moment on until before another. The rows of a user in a group are a set of
// periods: time that lies in several of them counts once.
type GroupMember struct {
	GroupID uuid.UUID `gorm:"primaryKey"`
	UserID  uuid.UUID `gorm:"primaryKey"`
	FromAt  Instant   `gorm:"primaryKey"` // zero: since always
	ToAt    Instant   `gorm:"primaryKey"` // zero: still
}

// isMember is the condition that a row of group_members is about a moment, which it takes twice.
const isMember = `group_members.from_at <= ? AND (group_members.to_at = 0 OR group_members.to_at > ?)`

// memberAhead is how far the clock of a control plane may be ahead.
const memberAhead = 5 * time.Minute

// users are the places of a change that hold a user of the group.
func (g *Group) users() (ids []*uuid.UUID) {
	for i := range g.UserIDs {
		ids = append(ids, &g.UserIDs[i])
	}
	for i := range g.Members {
		ids = append(ids, &g.Members[i].UserID)
	}
	return ids
}

// clone returns a group whose users may be changed without changing those of the first.
func (g Group) clone() Group {
	g.UserIDs, g.Members = slices.Clone(g.UserIDs), slices.Clone(g.Members)
	return g
}

// without returns the group without some users.
func (g Group) without(users map[uuid.UUID]bool) Group {
	g = g.clone()
	g.UserIDs = slices.DeleteFunc(g.UserIDs, func(id uuid.UUID) bool { return users[id] })
	g.Members = slices.DeleteFunc(g.Members, func(m GroupMember) bool { return users[m.UserID] })
	return g
}

// tooNew says which time of the members is in the future; empty: none is.
func (g *Group) tooNew(now Instant) string {
	newest := now.Add(memberAhead)
	for i, m := range g.Members {
		for _, field := range []struct {
			name string
			at   Instant
		}{{"from", m.FromAt}, {"to", m.ToAt}} {
			if field.at.After(newest) {
				return fmt.Sprintf("members[%d].%s: is in the future", i, field.name)
			}
		}
	}
	return ""
}

// membership is the periods of the members of a group, by user.
type membership map[uuid.UUID][]minute.Period

// change returns the membership that a group has once a change is written that says who is in it: as UserIDs from now on, or as
// Members at all times.
func (m membership) change(g Group, now Instant) membership {
	after := membership{}
	if g.Members != nil {
		for _, p := range g.Members {
			after[p.UserID] = append(after[p.UserID], minute.Period{From: p.FromAt.Time, To: p.ToAt.Time})
		}
	} else {
		for user, periods := range m {
			after[user] = minute.Until(periods, now.Time)
		}
		for _, user := range g.UserIDs {
			after[user] = append(slices.Clone(m[user]), minute.Period{From: now.Time})
		}
	}
	for user, periods := range after {
		after[user] = minute.Unite(periods)
	}
	maps.DeleteFunc(after, func(_ uuid.UUID, periods []minute.Period) bool { return len(periods) == 0 })
	return after
}

// equal reports whether two memberships have the same periods of the same users.
func (m membership) equal(other membership) bool {
	return maps.EqualFunc(m, other, func(a, b []minute.Period) bool {
		return slices.EqualFunc(a, b, func(a, b minute.Period) bool { return a.From.Equal(b.From) && a.To.Equal(b.To) })
	})
}

// rows returns the rows of the members of a group.
func (m membership) rows(group uuid.UUID) (rows []GroupMember) {
	for user, periods := range m {
		for _, p := range periods {
			rows = append(rows, GroupMember{group, user, At(p.From), At(p.To)})
		}
	}
	return rows
}

// memberships reads the members of groups. A group without any is absent.
func memberships(tx *gorm.DB, groups []uuid.UUID) (map[uuid.UUID]membership, error) {
	of := map[uuid.UUID]membership{}
	for batch := range slices.Chunk(groups, readBatch) {
		var rows []GroupMember
		if err := tx.Session(&gorm.Session{}).Where("group_id IN ?", batch).Order("from_at, to_at").Find(&rows).Error; err != nil {
			return nil, fmt.Errorf("read members of groups: %w", err)
		}
		for _, r := range rows {
			if of[r.GroupID] == nil {
				of[r.GroupID] = membership{}
			}
			of[r.GroupID][r.UserID] = append(of[r.GroupID][r.UserID], minute.Period{From: r.FromAt.Time, To: r.ToAt.Time})
		}
	}
	return of, nil
}

// writeMembers writes what groups say of their members. The rows of the groups are written already: so no other transaction writes their
// members meanwhile.
func writeMembers(tx *gorm.DB, groups map[uuid.UUID]Group, now Instant) error {
	before, err := memberships(tx, slices.Collect(maps.Keys(groups)))
	if err != nil {
		return err
	}
	var changed []uuid.UUID
	var rows []GroupMember
	for id, g := range groups {
		if after := before[id].change(g, now); !after.equal(before[id]) {
			changed, rows = append(changed, id), append(rows, after.rows(id)...)
		}
	}
	for batch := range slices.Chunk(changed, readBatch) {
		if err := tx.Where("group_id IN ?", batch).Delete(&GroupMember{}).Error; err != nil {
			return fmt.Errorf("replace members of groups: %w", err)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := tx.CreateInBatches(rows, writeBatch).Error; err != nil {
		return fmt.Errorf("replace members of groups: %w", err)
	}
	return nil
}

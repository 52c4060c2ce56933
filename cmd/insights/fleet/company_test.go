package fleet_test

import (
	"testing"
	"time"

	"github.com/template-insights/insights/cmd/insights/fleet"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

const (
	days         = 28
	minutesOfDay = 24 * 60
)

// presence has the minutes of the last 28 days in which somebody was present.
type presence [days * minutesOfDay]bool

// count counts the minutes of some days.
func (p *presence) count(first, n int) (minutes int) {
	for _, present := range p[first*minutesOfDay : (first+n)*minutesOfDay] {
		if present {
			minutes++
		}
	}
	return minutes
}

// presences are those of all people by id, in the days before a midnight.
func presences(t *testing.T, c *fleet.Company, midnight time.Time) map[string]*presence {
	t.Helper()
	owners, people := map[string]string{}, map[string]*presence{} // owners of workspaces, then of agents
	for _, w := range c.Catalog.GetWorkspaces() {
		owners[w.GetId()] = w.GetOwnerId()
	}
	for _, a := range c.Catalog.GetAgents() {
		owners[a.GetId()] = owners[a.GetWorkspaceId()]
	}
	for _, u := range c.Catalog.GetUsers() {
		people[u.GetId()] = &presence{}
	}
	start := midnight.AddDate(0, 0, -days)
	mark := func(user string, from, to time.Time) {
		first, last := int(from.Sub(start)/time.Minute), int(to.Sub(start)/time.Minute)
		for i := max(first, 0); i < min(last, days*minutesOfDay); i++ {
			people[user][i] = true
		}
	}
	err := c.History(func(r *insightsv1.AgentReport) error {
		end := r.GetCollectedAt().AsTime().Truncate(time.Minute).Add(time.Minute)
		mark(owners[r.GetAgentId()], end.Add(-r.GetInterval().AsDuration()), end)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.AppSessions(start, midnight) {
		mark(s.GetUserId(), s.GetStartedAt().AsTime(), s.GetEndedAt().AsTime())
	}
	return people
}

func weekend(day time.Time) bool {
	return day.Weekday() == time.Saturday || day.Weekday() == time.Sunday
}

// People work as people do: nobody around the clock, hardly on weekends, with leave and logins, and some leave the company. At any
// hour somebody is there.
func TestPeople(t *testing.T) {
	for name, now := range map[string]time.Time{
		"on a Sunday":    time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC),
		"on a Wednesday": time.Date(2027, 3, 3, 23, 55, 0, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fleet.NewCompany(1, now)
			midnight := now.Truncate(24 * time.Hour)
			start, people := midnight.AddDate(0, 0, -days), presences(t, c, midnight)
			var somebody presence
			weekday, restday, onLeave := 0, 0, 0
			for id, p := range people {
				for i, present := range p {
					somebody[i] = somebody[i] || present
				}
				for d := range days {
					if m := p.count(d, 1); m > 12*60 {
						t.Errorf("%s is there for %d minutes of the day %d", id, m, d)
					}
					if d+7 <= days && p.count(d, 7) > 60*60 {
						t.Errorf("%s is there for %d minutes of a week", id, p.count(d, 7))
					}
					if weekend(start.AddDate(0, 0, d)) {
						restday += p.count(d, 1)
					} else {
						weekday += p.count(d, 1)
					}
				}
				if tookLeave(p, start) {
					onLeave++
				}
			}
			// Of the 28 days 8 are on weekends.
			if weekday == 0 || 5*restday/8 > weekday/20 {
				t.Errorf("%d minutes on weekends, %d on the other days", restday, weekday)
			}
			if onLeave == 0 {
				t.Error("nobody took leave")
			}
			for minute, present := range somebody {
				if !present {
					t.Fatalf("nobody is there at minute %d", minute)
				}
			}
			checkEvents(t, c, start, people)
		})
	}
}

// tookLeave says whether somebody who is hardly ever missing was so for five working days in a row at least, and came back.
func tookLeave(p *presence, start time.Time) bool {
	worked, missed, away, longest := 0, 0, 0, 0
	for d := range days {
		switch {
		case p.count(d, 1) > 0:
			if worked > 0 {
				longest = max(longest, away)
			}
			worked, away = worked+1, 0
		case !weekend(start.AddDate(0, 0, d)):
			missed, away = missed+1, away+1
		}
	}
	return longest >= 5 && worked > 4*(missed-longest)
}

// checkEvents checks that who logs in is there, that everybody logs in who is, and what became of those who left.
func checkEvents(t *testing.T, c *fleet.Company, start time.Time, people map[string]*presence) {
	t.Helper()
	loggedIn, statuses := map[string]bool{}, map[string]string{}
	for _, e := range c.Events {
		at := int(e.GetAt().AsTime().Sub(start) / time.Minute)
		if id := e.GetLogin().GetUserId(); id != "" {
			loggedIn[id] = true
			if later := at + 15; at >= 0 && later < days*minutesOfDay && !people[id][later] {
				t.Errorf("%s logs in at minute %d and is not there", id, at)
			}
		}
		if s := e.GetUserStatus(); s != nil {
			statuses[s.GetUserId()] = s.GetStatus()
			if first := max(0, at/minutesOfDay+1); s.GetStatus() != "active" && people[s.GetUserId()].count(first, days-first) > 0 {
				t.Errorf("%s is %s since minute %d and there afterwards", s.GetUserId(), s.GetStatus(), at)
			}
		}
	}
	count := map[string]int{}
	for i, u := range c.Catalog.GetUsers() {
		count[u.GetStatus()]++
		if statuses[u.GetId()] != u.GetStatus() || i < 3 && u.GetStatus() != "active" {
			t.Errorf("user %d is %q, and %q of late", i, u.GetStatus(), statuses[u.GetId()])
		}
		if people[u.GetId()].count(0, days) > 0 && !loggedIn[u.GetId()] {
			t.Errorf("user %d never logs in", i)
		}
	}
	if count["suspended"] == 0 || count["dormant"] == 0 || count["active"] < 100 {
		t.Errorf("people by status: %v", count)
	}
}

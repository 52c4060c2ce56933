package fleet

import (
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// person is somebody with habits, which hold in all their workspaces.
type person struct {
	id        uuid.UUID
	number    int
	seed      uint64
	zone      time.Duration // local time minus UTC
	diligence float64       // part of the working days with work
	leave     int           // days off in a row every eight weeks, or 0
	left      time.Time     // the midnight from which on they do not work any more, or zero
}

// stretch is a time of work without a break.
type stretch struct{ from, to time.Time }

// Who works outside of working days does so in stints. Each stint of a day is that of two people of whom one is always there, and
// each person has one every nine or ten days.
const (
	stints      = 8
	stintLength = 24 * time.Hour / stints
	leaveCycle  = 56 // days
)

var (
	firstNames = []string{
		"ada", "alan", "barbara", "dennis", "donald", "edsger", "frances", "grace", "john", "katherine", "ken", "leslie", "margaret",
		"niklaus", "radia",
	}
	lastNames = []string{"birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan"}
)

func username(i int) string {
	return firstNames[i%len(firstNames)] + "-" + lastNames[i/len(firstNames)]
}

// addPerson adds a person. Those with odd numbers neither take leave nor go: stints rely on them.
func (c *Company) addPerson(i int) {
	p := &person{
		id: c.id(), number: i, seed: c.random.Uint64(),
		zone:      []time.Duration{0, time.Hour, 2 * time.Hour, -5 * time.Hour, 330 * time.Minute}[c.random.IntN(5)],
		diligence: 0.6 + 0.4*c.random.Float64(),
	}
	created := c.now.Add(-2 * month)
	user := &insightsv1.User{
		Id: p.id.String(), Username: username(i), Kind: "human", Status: "active",
		OrganizationIds: []string{c.Catalog.GetOrganizations()[i%len(organizationNames)].GetId()}, CreatedAt: timestamppb.New(created),
	}
	c.people = append(c.people, p)
	c.Catalog.Users = append(c.Catalog.Users, user)
	c.Events = append(c.Events, p.status("active", created))
	if i%4 == 0 {
		p.leave = 7 + c.random.IntN(8)
	}
	if n := i / 24; i%24 == 22 {
		since := c.now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -2-2*n)
		p.left, user.Status = since, "suspended"
		if n%2 == 1 { // Who did nothing for two weeks is dormant.
			p.left, user.Status = since.AddDate(0, 0, -14), "dormant"
		}
		c.Events = append(c.Events, p.status(user.GetStatus(), since.Add(12*time.Hour)))
	}
}

// status says that the person has a status from a moment on.
func (p *person) status(status string, at time.Time) *insightsv1.Event {
	return &insightsv1.Event{At: timestamppb.New(at), Kind: &insightsv1.Event_UserStatus{
		UserStatus: &insightsv1.UserStatusEvent{UserId: p.id.String(), Status: status},
	}}
}

// hours are the work of a person on a day. They depend on the person and the day alone.
func (p *person) hours(day time.Time) []stretch {
	number := int(day.Unix() / (24 * 60 * 60))
	onLeave := (number+int(p.seed%leaveCycle))%leaveCycle < p.leave
	if gone := !p.left.IsZero() && !day.Before(p.left); onLeave || gone {
		return nil
	}
	r := rand.New(rand.NewPCG(p.seed, uint64(day.Unix())))
	minutes := func(n int) time.Duration { return time.Duration(r.IntN(n)) * time.Minute }
	if turn := (stints*number + p.number/2) % (users / 2); turn < stints {
		from := day.Add(time.Duration(turn) * stintLength)
		return []stretch{{from.Add(-minutes(20)), from.Add(stintLength)}}
	}
	willing := p.diligence
	if weekday := day.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
		willing *= 0.05
	}
	if r.Float64() > willing {
		return nil
	}
	begin := day.Add(-p.zone + 8*time.Hour + minutes(120))
	lunch := begin.Add(3*time.Hour + minutes(60))
	back := lunch.Add(30*time.Minute + minutes(45))
	return []stretch{{begin, lunch}, {back, back.Add(2*time.Hour + minutes(180))}}
}

// logins are the sign-ins between two moments: people sign in when they begin to work.
func (c *Company) logins(from, to time.Time) []*insightsv1.Event {
	var logins []*insightsv1.Event
	for _, p := range c.people {
		for day := range daysAround(from, to) {
			hours := p.hours(day)
			if len(hours) == 0 || hours[0].from.Before(from) || !hours[0].from.Before(to) {
				continue
			}
			logins = append(logins, &insightsv1.Event{
				At: timestamppb.New(hours[0].from), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: p.id.String()}},
			})
		}
	}
	return logins
}

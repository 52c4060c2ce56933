package minute

import (
	"maps"
	"slices"
)

// The naive reference: usage as sets of minutes in maps, walked by loops. It shares nothing with the counters but Row.

// use is a person's use of an app in a template.
type use struct {
	template  int
	person    int64
	kind      Kind
	app       string
	estimated bool
}

type minutes map[int64]bool

// reference is all that was ever used and measured.
type reference struct {
	uses    map[use]minutes
	samples map[use]map[int64]byte // the lowest of each minute
}

// newReference takes the rows of each template, sorted and without duplicates.
func newReference(templates [][]Row) reference {
	type place struct {
		template int
		person   int64
		halfHour int32
	}
	open, sessions, apps, connections := map[place]bool{}, map[place]bool{}, map[place]bool{}, map[place]bool{}
	for template, rows := range templates {
		for _, r := range rows {
			at := place{template, r.Subject >> 24, r.HalfHour}
			switch r.Kind {
			case Session:
				sessions[at] = true
				open[at] = open[at] || r.Connected
			case App:
				apps[at] = true
			case Connection:
				connections[at] = true
			}
		}
	}
	ref := reference{map[use]minutes{}, map[use]map[int64]byte{}}
	for template, rows := range templates {
		for _, r := range rows {
			u := use{template, r.Subject >> 24, r.Kind, r.App, false}
			at := place{template, r.Subject >> 24, r.HalfHour}
			switch {
			case r.Kind == ImportedSession && sessions[at], r.Kind == ImportedApp && apps[at],
				r.Kind == ImportedConnection && connections[at]:
				continue
			case r.Kind == ImportedSession:
				u.kind, u.estimated = Session, true
			case r.Kind == ImportedApp:
				u.kind, u.estimated = App, true
			case r.Kind == ImportedConnection:
				u.kind = Connection
			}
			bin := 0
			for i := range int64(30) {
				if r.Minutes&(1<<i) == 0 {
					continue
				}
				minute := int64(r.HalfHour)*30 + i
				switch {
				case u.estimated, r.Kind == App, r.Kind == Login, r.Kind == Session && open[at]:
					if ref.uses[u] == nil {
						ref.uses[u] = minutes{}
					}
					ref.uses[u][minute] = true
				case u.kind == Connection:
					if ref.samples[u] == nil {
						ref.samples[u] = map[int64]byte{}
					}
					if lowest, known := ref.samples[u][minute]; !known || r.Bins[bin] < lowest {
						ref.samples[u][minute] = r.Bins[bin]
					}
					bin++
				}
			}
		}
	}
	return ref
}

// between returns what was used in start <= m < end and passes the filter, by person, and the templates it was used in.
func (ref reference) between(start, end int64, filter func(use) bool) (users map[int64]minutes, templates []int) {
	users, in := map[int64]minutes{}, map[int]bool{}
	for u, all := range ref.uses {
		for m := range all {
			if m < start || m >= end || !filter(u) {
				continue
			}
			if users[u.person] == nil {
				users[u.person] = minutes{}
			}
			users[u.person][m] = true
			in[u.template] = true
		}
	}
	return users, slices.Sorted(maps.Keys(in))
}

// of is the reference of the users of some actors.
func (ref reference) of(who Population, counted func(Actor) bool) reference {
	some := reference{map[use]minutes{}, map[use]map[int64]byte{}}
	for u, used := range ref.uses {
		if u.person = who.As(u.person); counted(who.Actors[u.person]) {
			if some.uses[u] == nil {
				some.uses[u] = minutes{}
			}
			maps.Copy(some.uses[u], used)
		}
	}
	for u, samples := range ref.samples {
		if counted(who.Actors[u.person]) {
			some.samples[u] = samples
		}
	}
	return some
}

func (ref reference) tally(w Window, who Population, channels int, channelOf ChannelOf) Tally {
	t := ref.of(who, who.Counted.Has).tallyAll(w, channels, channelOf)
	for _, a := range []Actor{Person, Service, System} {
		others := ref.of(who, func(other Actor) bool { return other == a }).tallyAll(w, 0, channelOf).Users
		if who.Counted.Has(a) || len(others) == 0 {
			continue
		}
		of := OtherTally{Actor: a}
		for _, u := range others {
			of.People, of.Minutes = append(of.People, u.Person), of.Minutes+u.Minutes
		}
		t.Others = append(t.Others, of)
	}
	return t
}

func (ref reference) tallyAll(w Window, channels int, channelOf ChannelOf) Tally {
	active := func(u use) bool {
		channel, _ := channelOf(u.template, u.kind, u.app, true)
		return channel != Ignored
	}
	in := func(u use, channel int) bool {
		own, within := channelOf(u.template, u.kind, u.app, true)
		return own == channel || own >= 0 && within == channel
	}
	users, templates := ref.between(w.Start, w.End, active)
	t := Tally{Templates: templates}
	estimated, _ := ref.between(w.Start, w.End, func(u use) bool { return u.estimated && active(u) })
	t.Estimated = len(estimated) > 0
	for _, person := range slices.Sorted(maps.Keys(users)) {
		_, templates := ref.between(w.Start, w.End, func(u use) bool { return u.person == person && active(u) })
		user := UserTally{Person: person, Minutes: int64(len(users[person])), Templates: templates}
		for i, start := range w.Bounds {
			end := append(w.Bounds[1:], w.End)[i]
			if there, _ := ref.between(start, end, func(u use) bool { return u.person == person && active(u) }); len(there) > 0 {
				user.Intervals++
				user.IntervalMinutes = append(user.IntervalMinutes, int64(len(there[person])))
			}
		}
		for channel := range channels {
			used, _ := ref.between(w.Start, w.End, func(u use) bool { return u.person == person && in(u, channel) })
			if minutes := used[person]; len(minutes) > 0 {
				user.Channels = append(user.Channels, UserChannel{channel, int64(len(minutes))})
			}
		}
		t.Users = append(t.Users, user)
	}
	t.ActiveUsers = len(t.Users)
	for channel := range channels {
		users, templates := ref.between(w.Start, w.End, func(u use) bool { return in(u, channel) })
		c := ChannelTally{Users: len(users), Templates: templates}
		for _, minutes := range users {
			c.Minutes += int64(len(minutes))
			c.Launches += launches(minutes)
		}
		t.Channels = append(t.Channels, c)
	}
	for i, start := range w.Bounds {
		end := append(w.Bounds[1:], w.End)[i]
		users, templates := ref.between(start, end, active)
		t.Intervals = append(t.Intervals, IntervalTally{start, end, len(users), templates})
	}
	t.Peaks = peaks(w, users)
	return t
}

// peaks counts the users of each minute of the quarters of hours that a window touches, and keeps the most of each.
func peaks(w Window, users map[int64]minutes) (most []int32) {
	if w.Start >= w.End {
		return nil
	}
	start := w.Start
	for start%15 != 0 {
		start--
	}
	for ; start < w.End; start += 15 {
		most = append(most, 0)
		for m := start; m < start+15; m++ {
			atOnce := int32(0)
			for _, used := range users {
				if used[m] {
					atOnce++
				}
			}
			most[len(most)-1] = max(most[len(most)-1], atOnce)
		}
	}
	return most
}

// launches counts the runs of consecutive half hours with use.
func launches(used minutes) (n int64) {
	halfHours := map[int64]bool{}
	for m := range used {
		halfHours[(m+1<<40*30)/30] = true // shifted, so that division rounds down
	}
	for h := range halfHours {
		if !halfHours[h-1] {
			n++
		}
	}
	return n
}

// latencies returns the samples of a person in a window, ascending.
func (ref reference) latencies(w Window, person int64) (out []float64) {
	for u, samples := range ref.samples {
		for m, bin := range samples {
			if u.person == person && w.Start <= m && m < w.End {
				out = append(out, BinValue(bin))
			}
		}
	}
	slices.Sort(out)
	return out
}

func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return -1
	}
	k := float64(len(sorted)-1) * p
	low := int(k)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(k-float64(low))
}

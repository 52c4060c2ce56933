package minute

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
)

const (
	// MinutesPerHalfHour is the number of bits a Mask uses.
	MinutesPerHalfHour = 30
	// HalfHoursPerDay is the number of half hours of a UTC day.
	HalfHoursPerDay = 48
	// minutesPerDay is the number of minutes of a UTC day.
	minutesPerDay = HalfHoursPerDay * MinutesPerHalfHour
)

// Kind says what was going on in the minutes of a Row. The numbers are stored and never change.
type Kind uint8

const (
	// Session is an editor, SSH, SFTP or terminal session, as named by the agent. It counts only behind the connection
	// gate: in a half hour in which, at some seat of its person in the template, a report with sessions had connections.
	Session Kind = iota
	// App is a workspace app, port or terminal, as reported by the proxy.
	App
	// Connection is a measured latency. It is no usage by itself.
	Connection
	// Login is a sign-in to the deployment. It is no usage.
	Login
	// ImportedSession is an estimate of a Session: another system knew how many minutes of the half hour there were, not
	// which. It counts, without a gate, in half hours in which its person has no Session in the template.
	ImportedSession
	// ImportedApp is an estimate of an App. It counts in half hours in which its person has no App in the template.
	ImportedApp
	// ImportedConnection is an estimate of a Connection: the median of a half hour that another system knew, in each minute of
	// that half hour's estimate. It counts in half hours in which its person has no Connection in the template.
	ImportedConnection

	kinds // their number; a page with another kind is not understood
)

// Measured returns what a kind is an estimate of, and whether it is one: [Session] of [ImportedSession], [App] of [ImportedApp],
// [Connection] of [ImportedConnection].
func (k Kind) Measured() (of Kind, estimate bool) {
	if k >= ImportedSession && k <= ImportedConnection {
		return k - ImportedSession, true
	}
	return k, false
}

// HasBins reports whether rows of a kind have bins: they are latencies then, and no usage.
func (k Kind) HasBins() bool {
	of, _ := k.Measured()
	return of == Connection
}

// Mask is a set of minutes of one half hour: bit i is minute i, 0 to 29.
type Mask uint32

// fullMask is every minute of a half hour.
const fullMask Mask = 1<<MinutesPerHalfHour - 1

// Count returns the number of minutes, 0 to 30.
func (m Mask) Count() int { return bits.OnesCount32(uint32(m)) }

// HalfHours yields the half hours of the minutes from first to last, counted from the Unix epoch, and which of its minutes
// are among them.
func HalfHours(first, last int64) iter.Seq2[int32, Mask] {
	return func(yield func(int32, Mask) bool) {
		for first <= last {
			halfHour := floorDiv(first, MinutesPerHalfHour)
			begin := halfHour * MinutesPerHalfHour
			end := min(last, begin+MinutesPerHalfHour-1)
			if !yield(int32(halfHour), Mask(1<<(end-first+1)-1)<<(first-begin)) {
				return
			}
			first = end + 1
		}
	}
}

// Row is the minutes of one half hour of one subject, kind and app, within one template.
type Row struct {
	// HalfHour is counted from the Unix epoch, in UTC.
	HalfHour int32
	// Subject is the person and the seat: see SubjectOf.
	Subject int64
	// Kind says what the minutes were spent on.
	Kind Kind
	// App is the normalised session name or the slug of the app; empty for Login and kinds with bins.
	App string
	// Minutes are those in which it happened.
	Minutes Mask
	// Connected is the connection gate, of a Session only: some report with sessions in this half hour had connections.
	Connected bool
	// Bins are the latencies, of a kind that has some: one bin per minute, in the order of the mask's bits.
	Bins []byte
}

// Compare orders rows as a page does: by subject, half hour, kind and app. Rows that compare equal have one key.
func Compare(a, b Row) int {
	return cmp.Or(
		cmp.Compare(a.Subject, b.Subject),
		cmp.Compare(a.HalfHour, b.HalfHour),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.App, b.App),
	)
}

// Union merges two sorted lists without duplicates into a new one. Of a minute with two latencies the earlier list's
// stays. The inputs are unchanged; the result may share their bins.
func Union(earlier, later []Row) []Row {
	out := make([]Row, 0, len(earlier)+len(later))
	for len(earlier) > 0 && len(later) > 0 {
		switch c := Compare(earlier[0], later[0]); {
		case c < 0:
			out, earlier = append(out, earlier[0]), earlier[1:]
		case c > 0:
			out, later = append(out, later[0]), later[1:]
		default:
			out = append(out, merge(earlier[0], later[0]))
			earlier, later = earlier[1:], later[1:]
		}
	}
	return append(append(out, earlier...), later...)
}

// Normalize sorts rows and unions those of one key, in place, and returns what is left. Of a minute with two latencies
// the first row's stays.
func Normalize(rows []Row) []Row {
	slices.SortStableFunc(rows, Compare)
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && Compare(out[n-1], r) == 0 {
			out[n-1] = merge(out[n-1], r)
			continue
		}
		out = append(out, r)
	}
	clear(rows[len(out):])
	return out
}

// merge unions two rows of one key.
func merge(earlier, later Row) Row {
	earlier.Bins = mergeBins(earlier, later)
	earlier.Minutes |= later.Minutes
	earlier.Connected = earlier.Connected || later.Connected
	return earlier
}

// mergeBins returns the bins of the united minutes. It makes a new list unless the earlier one has them all.
func mergeBins(earlier, later Row) []byte {
	if !earlier.Kind.HasBins() || later.Minutes&^earlier.Minutes == 0 {
		return earlier.Bins
	}
	a, b := earlier.Bins, later.Bins
	bins := make([]byte, 0, (earlier.Minutes | later.Minutes).Count())
	for rest := earlier.Minutes | later.Minutes; rest != 0; rest &= rest - 1 {
		bit := rest & -rest
		inLater := later.Minutes&bit != 0
		if earlier.Minutes&bit != 0 {
			bins, a = append(bins, a[0]), a[1:]
		} else {
			bins = append(bins, b[0])
		}
		if inLater {
			b = b[1:]
		}
	}
	return bins
}

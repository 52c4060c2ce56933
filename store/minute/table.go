package minute

import (
	"maps"
	"slices"
)

// Table is the usage rows of one template and day in columns: what a usage page holds. It is read-only and may share
// memory with the page it was read from.
type Table struct {
	day int32
	blocks
	halfHour  []uint8  // of the day
	kind      []uint8  // never Connection
	apps      []string // ascending
	narrow    []uint8  // index into apps; nil when apps are too many for it
	wide      []uint32 // index into apps, then
	minutes   []int32
	connected []byte // one bit per row, the least significant first

	code []uint32 // what the row counts as: noUsage, or one more than its kind times the number of apps plus its app
}

// noUsage is the code of sessions in half hours in which no session was connected, and of estimates in half hours in which
// their kind was measured.
const noUsage = 0

// blocks are the subjects of a table, ascending, and where the rows of each end.
type blocks struct {
	subjects []int64
	ends     []int32
}

// push adds the next row, which is of the given subject.
func (b *blocks) push(subject int64) {
	if n := len(b.subjects); n == 0 || b.subjects[n-1] != subject {
		b.subjects = append(b.subjects, subject)
		b.ends = append(b.ends, int32(b.rows()))
	}
	b.ends[len(b.ends)-1]++
}

// rowsOf returns where the rows of a block begin and end.
func (b *blocks) rowsOf(block int) (from, to int32) {
	if block > 0 {
		from = b.ends[block-1]
	}
	return from, b.ends[block]
}

// size is about how much memory the subjects hold, with the column that they came from.
func (b *blocks) size() int { return 12*len(b.subjects) + 2*b.rows() }

// of returns the numbers of the first row of a subject and of the one after its last.
func (b *blocks) of(subject int64) (from, to int) {
	block, found := slices.BinarySearch(b.subjects, subject)
	if !found {
		return 0, 0
	}
	first, end := b.rowsOf(block)
	return int(first), int(end)
}

// rows returns the number of rows.
func (b *blocks) rows() int {
	if len(b.ends) == 0 {
		return 0
	}
	return int(b.ends[len(b.ends)-1])
}

// TableOf puts the usage rows of a day into columns. The rows are sorted and without duplicates; connection rows and rows
// of other days are left out.
func TableOf(day int32, rows []Row) *Table {
	index := make(map[string]uint32)
	for i := range rows {
		if rows[i].isUsage(day) {
			index[rows[i].App] = 0
		}
	}
	t := &Table{day: day, apps: slices.Sorted(maps.Keys(index))}
	for i, app := range t.apps {
		index[app] = uint32(i)
	}
	for i := range rows {
		if rows[i].isUsage(day) {
			t.push(&rows[i], index[rows[i].App])
		}
	}
	t.assignCodes()
	return t
}

// assignCodes gives each row its code.
func (t *Table) assignCodes() {
	t.code = make([]uint32, t.rows())
	for block := range t.subjects {
		from, to := t.rowsOf(block)
		var open uint64            // the half hours whose gate is open
		var measured [kinds]uint64 // by kind, the half hours with rows of it
		for i := from; i < to; i++ {
			open |= t.connectedBit(int(i)) << t.halfHour[i]
			measured[t.kind[i]] |= 1 << t.halfHour[i]
		}
		for i := from; i < to; i++ {
			if of, estimate := Kind(t.kind[i]).Measured(); estimate && measured[of]>>t.halfHour[i]&1 != 0 {
				continue
			}
			if Kind(t.kind[i]) != Session || open>>t.halfHour[i]&1 != 0 {
				t.code[i] = uint32(1 + int(t.kind[i])*len(t.apps) + t.app(int(i)))
			}
		}
	}
}

// codes is the number of codes that rows may have.
func (t *Table) codes() int { return 1 + int(kinds)*len(t.apps) }

// decode returns the kind and the app of a code that is not noUsage.
func (t *Table) decode(code uint32) (Kind, string) {
	at := int(code - 1)
	return Kind(at / len(t.apps)), t.apps[at%len(t.apps)]
}

// isUsage reports whether a row belongs to the usage table of a day.
func (r *Row) isUsage(day int32) bool { return r.Kind != Connection && r.day() == day }

// day returns the UTC day of a row.
func (r *Row) day() int32 { return int32(floorDiv(int64(r.HalfHour), HalfHoursPerDay)) }

// push appends a row.
func (t *Table) push(r *Row, app uint32) {
	i := t.rows()
	t.blocks.push(r.Subject)
	t.halfHour = append(t.halfHour, uint8(r.HalfHour-t.day*HalfHoursPerDay))
	t.kind = append(t.kind, uint8(r.Kind))
	t.minutes = append(t.minutes, int32(r.Minutes))
	if isNarrow(t.apps) {
		t.narrow = append(t.narrow, uint8(app))
	} else {
		t.wide = append(t.wide, app)
	}
	if i%8 == 0 {
		t.connected = append(t.connected, 0)
	}
	if r.Connected && r.Kind == Session {
		t.connected[i/8] |= 1 << (i % 8)
	}
}

// isNarrow reports whether a byte is enough for an index of apps.
func isNarrow(apps []string) bool { return len(apps) <= 255 }

// app returns the index of a row's app.
func (t *Table) app(row int) int {
	if t.narrow != nil {
		return int(t.narrow[row])
	}
	return int(t.wide[row])
}

// connectedBit returns 1 for a connected session and 0 for any other row.
func (t *Table) connectedBit(row int) uint64 { return uint64(t.connected[row>>3] >> (row & 7) & 1) }

// Size is about how much memory the table holds, in bytes.
func (t *Table) Size() int { return t.size() + 11*len(t.minutes) }

// Rows returns the rows of the table, sorted.
func (t *Table) Rows() []Row {
	out := make([]Row, 0, t.rows())
	for block, subject := range t.subjects {
		for i := len(out); i < int(t.ends[block]); i++ {
			out = append(out, t.row(i, subject))
		}
	}
	return out
}

// RowsOf returns the rows of one subject, sorted.
func (t *Table) RowsOf(subject int64) (out []Row) {
	for i, to := t.of(subject); i < to; i++ {
		out = append(out, t.row(i, subject))
	}
	return out
}

func (t *Table) row(i int, subject int64) Row {
	return Row{
		HalfHour:  t.day*HalfHoursPerDay + int32(t.halfHour[i]),
		Subject:   subject,
		Kind:      Kind(t.kind[i]),
		App:       t.apps[t.app(i)],
		Minutes:   Mask(t.minutes[i]),
		Connected: t.connectedBit(i) != 0,
	}
}

// LatencyTable is the Connection rows of one template and day in columns: what a latency page holds. It is read-only and
// may share memory with the page it was read from.
type LatencyTable struct {
	day int32
	blocks
	halfHour []uint8 // of the day
	minutes  []int32
	bins     []byte  // of all rows, one after the other
	offsets  []int32 // where the bins of each row begin, and the end of the last
}

// LatencyTableOf puts the Connection rows of a day into columns. The rows are sorted and without duplicates; rows of other
// kinds and days are left out.
func LatencyTableOf(day int32, rows []Row) *LatencyTable {
	t := &LatencyTable{day: day, offsets: []int32{0}}
	for i := range rows {
		r := &rows[i]
		if r.Kind != Connection || r.day() != day {
			continue
		}
		t.push(r.Subject)
		t.halfHour = append(t.halfHour, uint8(r.HalfHour-day*HalfHoursPerDay))
		t.minutes = append(t.minutes, int32(r.Minutes))
		t.bins = append(t.bins, r.Bins...)
		t.offsets = append(t.offsets, int32(len(t.bins)))
	}
	return t
}

// Size is about how much memory the table holds, in bytes.
func (t *LatencyTable) Size() int { return t.size() + 9*len(t.minutes) + len(t.bins) }

// Rows returns the rows of the table, sorted. Their bins share memory with the table.
func (t *LatencyTable) Rows() []Row {
	out := make([]Row, 0, t.rows())
	for block, subject := range t.subjects {
		for i := len(out); i < int(t.ends[block]); i++ {
			out = append(out, t.row(i, subject))
		}
	}
	return out
}

// RowsOf returns the rows of one subject, sorted. Their bins share memory with the table.
func (t *LatencyTable) RowsOf(subject int64) (out []Row) {
	for i, to := t.of(subject); i < to; i++ {
		out = append(out, t.row(i, subject))
	}
	return out
}

func (t *LatencyTable) row(i int, subject int64) Row {
	return Row{
		HalfHour: t.day*HalfHoursPerDay + int32(t.halfHour[i]),
		Subject:  subject,
		Kind:     Connection,
		Minutes:  Mask(t.minutes[i]),
		Bins:     t.rowBins(i),
	}
}

// rowBins returns the bins of a row.
func (t *LatencyTable) rowBins(row int) []byte {
	from, to := t.offsets[row], t.offsets[row+1]
	return t.bins[from:to:to]
}

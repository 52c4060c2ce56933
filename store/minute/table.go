package minute

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// Table is the usage rows of one template and day in columns: what a usage page holds. It is read-only and may share
// memory with the page it was read from.
type Table struct {
	day int32
	blocks
	halfHour  []uint8  // of the day
	kind      []uint8  // without bins
	apps      []string // ascending
	narrow    []uint8  // index into apps; nil when apps are too many for it
	wide      []uint32 // index into apps, then
	minutes   []int32
	connected []byte // one bit per row, the least significant first

	code []uint32 // what the row counts as: noUsage, or one more than its kind times the number of apps plus its app
	sums *sums    // nil: the days of people are not added up
}

// noUsage is the code of sessions in half hours in which no session was connected, and of estimates in half hours in which
// their kind was measured: at no seat of their person, and at some.
const noUsage = 0

// blocks are the subjects of a table, ascending, and where the rows of each end.
type blocks struct {
	subjects []int64
	ends     []int32
}

// span is rows, or blocks, from one up to but not including another.
type span struct{ from, to int32 }

// push adds the next row, which is of the given subject.
func (b *blocks) push(subject int64) {
	if n := len(b.subjects); n == 0 || b.subjects[n-1] != subject {
		b.subjects = append(b.subjects, subject)
		b.ends = append(b.ends, int32(b.rows()))
	}
	b.ends[len(b.ends)-1]++
}

// people yields each person, ascending, and their blocks at all seats.
func (b *blocks) people() iter.Seq2[int64, span] { return b.between(0, MaxPerson) }

// between yields each person from the first to the last as people does.
func (b *blocks) between(first, last int64) iter.Seq2[int64, span] {
	return func(yield func(int64, span) bool) {
		from, _ := b.of(first)
		_, end := b.of(last)
		for i := from; i < end; i++ {
			person := PersonOf(b.subjects[i])
			if i+1 < end && PersonOf(b.subjects[i+1]) == person {
				continue
			}
			if !yield(person, span{int32(from), int32(i + 1)}) {
				return
			}
			from = i + 1
		}
	}
}

// upTo returns the blocks of a person, of which the last is known.
func (b *blocks) upTo(last int32) span {
	from := last
	for from > 0 && PersonOf(b.subjects[from-1]) == PersonOf(b.subjects[last]) {
		from--
	}
	return span{from, last + 1}
}

// rowsOf returns the rows of blocks, of which there is at least one.
func (b *blocks) rowsOf(blocks span) span {
	return span{int32(b.start(int(blocks.from))), b.ends[blocks.to-1]}
}

// size is about how much memory the subjects hold, with the column that they came from.
func (b *blocks) size() int { return 12*len(b.subjects) + 2*b.rows() }

// of returns the first block of a person and the one after the last.
func (b *blocks) of(person int64) (first, end int) {
	byPerson := func(subject, person int64) int { return cmp.Compare(PersonOf(subject), person) }
	first, _ = slices.BinarySearchFunc(b.subjects, person, byPerson)
	end, _ = slices.BinarySearchFunc(b.subjects, person+1, byPerson)
	return first, end
}

// start returns the number of the first row of a block, or of the row that would follow the last block.
func (b *blocks) start(block int) int {
	if block == 0 {
		return 0
	}
	return int(b.ends[block-1])
}

// rows returns the number of rows.
func (b *blocks) rows() int { return b.start(len(b.ends)) }

// list returns the rows of the blocks from first up to but not including end. row makes one, of its number and subject.
func (b *blocks) list(first, end int, row func(int, int64) Row) []Row {
	out := make([]Row, 0, b.start(end)-b.start(first))
	for block := first; block < end; block++ {
		for i := b.start(block); i < b.start(block+1); i++ {
			out = append(out, row(i, b.subjects[block]))
		}
	}
	return out
}

// TableOf puts the usage rows of a day into columns. The rows are sorted and without duplicates; rows with bins and rows of
// other days are left out.
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
	for _, blocks := range t.people() {
		rows := t.rowsOf(blocks)
		var open uint64            // the half hours whose gate is open
		var measured [kinds]uint64 // by kind, the half hours with rows of it
		for i := rows.from; i < rows.to; i++ {
			open |= t.connectedBit(int(i)) << t.halfHour[i]
			measured[t.kind[i]] |= 1 << t.halfHour[i]
		}
		for i := rows.from; i < rows.to; i++ {
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
func (r *Row) isUsage(day int32) bool { return !r.Kind.HasBins() && r.day() == day }

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
func (t *Table) Size() int { return t.size() + 11*len(t.minutes) + t.sums.size() }

// Rows returns the rows of the table, sorted.
func (t *Table) Rows() []Row { return t.list(0, len(t.subjects), t.row) }

// RowsOf returns the rows of one person at all seats, sorted.
func (t *Table) RowsOf(person int64) []Row {
	first, end := t.of(person)
	return t.list(first, end, t.row)
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

// LatencyTable is the rows with bins of one template and day in columns: what a latency page holds. It is read-only and
// may share memory with the page it was read from.
type LatencyTable struct {
	day int32
	blocks
	halfHour []uint8 // of the day
	kind     []uint8 // with bins
	minutes  []int32
	bins     []byte  // of all rows, one after the other
	offsets  []int32 // where the bins of each row begin, and the end of the last

	sums *latencySums // nil: the days of people are not added up
}

// LatencyTableOf puts the rows with bins of a day into columns. The rows are sorted and without duplicates; rows without bins
// and rows of other days are left out.
func LatencyTableOf(day int32, rows []Row) *LatencyTable {
	t := &LatencyTable{day: day, offsets: []int32{0}}
	for i := range rows {
		r := &rows[i]
		if !r.Kind.HasBins() || r.day() != day {
			continue
		}
		t.push(r.Subject)
		t.halfHour = append(t.halfHour, uint8(r.HalfHour-day*HalfHoursPerDay))
		t.kind = append(t.kind, uint8(r.Kind))
		t.minutes = append(t.minutes, int32(r.Minutes))
		t.bins = append(t.bins, r.Bins...)
		t.offsets = append(t.offsets, int32(len(t.bins)))
	}
	return t
}

// Size is about how much memory the table holds, in bytes.
func (t *LatencyTable) Size() int { return t.size() + 10*len(t.minutes) + len(t.bins) + t.sums.size() }

// Rows returns the rows of the table, sorted. Their bins share memory with the table.
func (t *LatencyTable) Rows() []Row { return t.list(0, len(t.subjects), t.row) }

// RowsOf returns the rows of one person at all seats, sorted. Their bins share memory with the table.
func (t *LatencyTable) RowsOf(person int64) []Row {
	first, end := t.of(person)
	return t.list(first, end, t.row)
}

func (t *LatencyTable) row(i int, subject int64) Row {
	return Row{
		HalfHour: t.day*HalfHoursPerDay + int32(t.halfHour[i]),
		Subject:  subject,
		Kind:     Kind(t.kind[i]),
		Minutes:  Mask(t.minutes[i]),
		Bins:     t.rowBins(i),
	}
}

// rowBins returns the bins of a row.
func (t *LatencyTable) rowBins(row int) []byte {
	from, to := t.offsets[row], t.offsets[row+1]
	return t.bins[from:to:to]
}

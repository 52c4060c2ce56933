package minute

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fuzzProperty fuzzes a property: the input decides what is drawn.
func fuzzProperty(f *testing.F, property func(*rapid.T)) {
	random := rand.NewChaCha8([32]byte{7})
	for range 8 {
		seed := make([]byte, 8<<10)
		_, _ = random.Read(seed) // never fails
		f.Add(seed)
	}
	f.Fuzz(rapid.MakeFuzz(property))
}

func FuzzUnion(f *testing.F)          { fuzzProperty(f, unionLaws) }
func FuzzPage(f *testing.F)           { fuzzProperty(f, pageRoundTrip) }
func FuzzFormerPage(f *testing.F)     { fuzzProperty(f, formerPageIsTranslated) }
func FuzzCounter(f *testing.F)        { fuzzProperty(f, counterMeetsReference) }
func FuzzLatencyCounter(f *testing.F) { fuzzProperty(f, latencyCounterMeetsReference) }

// addPages seeds a fuzz test with files of both kinds and formats, whole and halved.
func addPages(f *testing.F) {
	pages := []Page{recordedPage(f)}
	for users := range 3 {
		pages = append(pages, encodePage(f, 0, fleet(1, users, 0)))
	}
	for _, p := range pages {
		for _, file := range [][]byte{p.Usage, p.Latency} {
			f.Add(file)
			f.Add(file[:len(file)/2])
			f.Add(file[len(file)/2:])
		}
	}
}

// checkRows wants what was read to be what a page may hold: written and read again it is the same.
func checkRows(t *testing.T, rows []Row) {
	t.Helper()
	got, err := DecodePage(0, encodePage(t, 0, rows), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRows(rows, got); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzReadUsage(f *testing.F) {
	addPages(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if table, err := ReadUsage(0, data, backwards); err == nil {
			checkRows(t, table.Rows())
		}
	})
}

func FuzzReadLatency(f *testing.F) {
	addPages(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if table, err := ReadLatency(0, data, backwards); err == nil {
			checkRows(t, table.Rows())
		}
	})
}

// Columns with any values, under a checksum that is right, are refused unless they are rows in range. (That they are in
// order is not looked at: nobody but EncodePage makes checksums.)
func FuzzForgedColumns(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1}, []byte{0}, []byte{1, 2})
	f.Add([]byte{0, 0, 2, 1, 0, 0, 0, 2, 0, 0, 6, 3, 0, 0, 0, 4}, []byte{0}, []byte{1, 2})
	f.Add([]byte{5, 3, 1, 0xff, 0xff, 0xff, 0x3f, 1, 5, 4, 1, 7, 0, 0, 0, 0}, []byte{5}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, rows, subjects, bins []byte) {
		usage, latency := &Table{apps: []string{"", "ssh"}}, &LatencyTable{offsets: []int32{0}}
		for ; len(rows) >= 8; rows = rows[8:] {
			subject, half, kind, app := int64(rows[0]), rows[1], rows[2], rows[7]>>1
			minutes, connected := int32(binary.LittleEndian.Uint32(rows[3:])), rows[7]&1 == 1
			if i := usage.rows(); i%8 == 0 {
				usage.connected = append(usage.connected, 0)
			}
			usage.blocks.push(subject)
			if i := usage.rows() - 1; connected {
				usage.connected[i/8] |= 1 << (i % 8)
			}
			usage.halfHour, usage.kind, usage.narrow, usage.minutes = append(usage.halfHour, half), append(usage.kind, kind),
				append(usage.narrow, app), append(usage.minutes, minutes)
			latency.push(subject)
			latency.halfHour, latency.kind = append(latency.halfHour, half), append(latency.kind, kind)
			latency.minutes = append(latency.minutes, minutes)
			latency.bins = append(latency.bins, bins[:min(len(bins), int(app))]...)
			latency.offsets = append(latency.offsets, int32(len(latency.bins)))
		}
		for i := range usage.subjects { // also out of order
			if i < len(subjects) {
				usage.subjects[i] = int64(subjects[i])
			}
		}
		usageFile, err := encodeUsage(usage)
		if err != nil {
			t.Fatal(err)
		}
		latencyFile, err := encodeLatency(latency)
		if err != nil {
			t.Fatal(err)
		}
		inRange := func(r Row) bool { return r.day() == 0 && r.Kind < kinds && r.Minutes&^fullMask == 0 }
		if table, err := ReadUsage(0, usageFile, nil); err == nil {
			if !slices.IsSorted(table.subjects) ||
				slices.ContainsFunc(table.Rows(), func(r Row) bool { return !inRange(r) || r.Kind.HasBins() }) {
				t.Errorf("usage that cannot be: %+v", table.Rows())
			}
		}
		if table, err := ReadLatency(0, latencyFile, nil); err == nil {
			if slices.ContainsFunc(table.Rows(), func(r Row) bool {
				return !inRange(r) || !r.Kind.HasBins() || len(r.Bins) != r.Minutes.Count()
			}) {
				t.Errorf("latencies that cannot be: %+v", table.Rows())
			}
		}
	})
}

func FuzzParseLatencies(f *testing.F) {
	f.Add("")
	f.Add("80ff9d018A03")
	f.Add("850105020503")
	f.Add("00ff1d010A03")
	f.Add("9e00")
	f.Fuzz(func(t *testing.T, text string) {
		m, bins, err := ParseLatencies(text)
		if err != nil {
			return
		}
		// Pair by pair from the end, so that the first one of a minute is what stays.
		want := map[uint64]byte{}
		for i := len(text) - 4; i >= 0; i -= 4 {
			pair := parseHex(t, text[i:i+4])
			if pair>>15 == 0 {
				pair = pair&^0xff | uint64(formerBins[byte(pair)])
			}
			want[pair>>8&^0x80] = byte(pair)
		}
		at := 0
		for i := range uint64(64) {
			bin, known := want[i]
			if known != (m>>i&1 == 1) {
				t.Fatalf("%q: minutes %b", text, m)
			}
			if known {
				if bins[at] != bin {
					t.Fatalf("%q: minute %d has bin %d, want %d", text, i, bins[at], bin)
				}
				at++
			}
		}
		if at != len(bins) {
			t.Fatalf("%q: %d bins for %d minutes", text, len(bins), at)
		}
		again, same, err := ParseLatencies(FormatLatencies(m, bins))
		if err != nil || again != m || !bytes.Equal(same, bins) {
			t.Fatalf("%q: written and read again: %b, %v, %v", text, again, same, err)
		}
	})
}

func parseHex(t *testing.T, digits string) (n uint64) {
	t.Helper()
	for _, d := range []byte(digits) {
		switch {
		case d >= '0' && d <= '9':
			n = n<<4 | uint64(d-'0')
		case d|0x20 >= 'a' && d|0x20 <= 'f':
			n = n<<4 | uint64(d|0x20-'a'+10)
		default:
			t.Fatalf("%q was taken for hex digits", digits)
		}
	}
	return n
}

func FuzzBin(f *testing.F) {
	for _, ms := range []float64{
		0.1, 1, 12.5, 149.999, 150, 300, 300.001, 29_999.999, 30_000, math.MaxFloat64, math.SmallestNonzeroFloat64,
	} {
		f.Add(ms, ms*1.01)
	}
	f.Fuzz(func(t *testing.T, a, b float64) {
		for _, ms := range []float64{a, b} {
			if !(ms > 0) || math.IsInf(ms, 0) {
				return
			}
			inside := min(max(ms, 0.1), 30_000)
			if got := BinValue(Bin(ms)); math.Abs(got-inside)/inside > 0.025 {
				t.Errorf("%g ms became %g ms", ms, got)
			}
			if got := rate(Bin(ms)); got != ratingOf(ms) {
				t.Errorf("%g ms became %s", ms, got)
			}
		}
		if a < b && Bin(a) > Bin(b) {
			t.Errorf("bin %d of %g ms is above bin %d of %g ms", Bin(a), a, Bin(b), b)
		}
	})
}

// zones are those whose calendars are odd in different ways.
var zones = []string{
	"UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "America/Havana", "America/St_Johns",
	"Pacific/Apia", "Pacific/Kwajalein",
	"Africa/Monrovia", "Africa/Cairo", "Asia/Gaza", "America/New_York", "Antarctica/Troll", "Asia/Pyongyang", "Africa/Casablanca",
}

// addDays seeds a fuzz test with days on which the calendars are odd.
func addDays(f *testing.F) {
	for zone := range zones {
		for _, day := range []int64{0, 735, 6000, 8634, 14_919, 15_336, 17_839, 19_807, 20_028, 20_700, 25_932} {
			f.Add(uint8(zone), day, int64(3*minutesPerDay+77), uint8(1))
		}
	}
}

// daysFromEpoch is a date as a number of days; dates of one zone compare by it.
func daysFromEpoch(t time.Time) int64 {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}

// The intervals of a window are those of a walk over its minutes with an eye on the calendar.
func FuzzSplit(f *testing.F) {
	addDays(f)
	f.Fuzz(func(t *testing.T, zone uint8, day, minutes int64, step uint8) {
		location, err := time.LoadLocation(zones[int(zone)%len(zones)])
		if err != nil {
			t.Fatal(err)
		}
		const century, most = 36_500, 12 * minutesPerDay
		day, minutes = (day%century+century)%century, (minutes%most+most)%most
		days := 1 + int(step%8)
		start := StartOfDay(1970, 1, 1+int(day), location)
		if shown := daysFromEpoch(start); shown < day {
			t.Fatalf("day %d of %v begins at %v", day, location, start)
		}
		for before := start.Add(-50 * time.Hour).Truncate(time.Minute); before.Before(start); before = before.Add(time.Minute) {
			if daysFromEpoch(before) >= day {
				t.Fatalf("day %d of %v begins at %v, but %v is before", day, location, start, before)
			}
		}
		end := start.Add(time.Duration(minutes) * time.Minute)
		w := NewWindow(start, end).Split(start, end, days)
		// What the clock has shown once counts, also when it goes back.
		var want []int64
		newest, first := int64(math.MinInt64), daysFromEpoch(start)
		for m := w.Start; m < w.End; m++ {
			shown := daysFromEpoch(time.Unix(60*m, 0).In(location))
			if n := (shown - first) / int64(days); n > newest {
				newest = n
				want = append(want, m)
			}
		}
		if !slices.Equal(want, w.Bounds) {
			t.Errorf("%d minutes from %v by %d days: intervals begin at %v, want %v", minutes, start, days, w.Bounds, want)
		}
	})
}

package client

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// fiveRecords is what 5 reports take whose numbers have three digits; a spool of 8 times that has room for so many in a file.
const fiveRecords = 5 * 51

// numbered is a report that knows its number.
func numbered(n int) *insightsv1.AgentReport {
	return &insightsv1.AgentReport{AgentId: "00000000-0000-4000-8000-000000000000", AgentVersion: strconv.Itoa(n)}
}

// failer is a test, or one of many of a property.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func openSpool(t failer, folder string, maxBytes int64) *Spool {
	t.Helper()
	s, err := OpenSpool(folder, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeSpool(t failer, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// takeAll takes what a spool holds and returns the numbers of the reports.
func takeAll(t failer, s *Spool) (numbers []int) {
	t.Helper()
	for {
		report, _, err := s.take()
		if err != nil {
			t.Fatal(err)
		}
		if report == nil {
			return numbers
		}
		n, err := strconv.Atoi(report.GetAgentVersion())
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
}

// filesOf returns the segments in a folder, the oldest first, and the bytes of all files together.
func filesOf(t failer, folder string) (names []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if size += info.Size(); e.Name() != lockName {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, size
}

// Whatever happens in whatever order: no report is lost that was accepted and not settled, reports come in their order, and the
// files are never larger than allowed. After the process ended only reports whose neighbors were not settled may come again.
func TestSpoolProperty(t *testing.T) {
	t.Parallel()
	folder, run := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		type taken struct {
			number  int
			segment *segment
		}
		run++
		folder, bound := filepath.Join(folder, strconv.Itoa(run)), rapid.Int64Range(100, 2000).Draw(t, "bound")
		s := openSpool(t, folder, bound)
		defer func() { closeSpool(t, s) }()
		next := 0
		var waiting []int // accepted, not taken by this process
		var open []taken  // taken, not settled
		settled := map[int]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				switch err := s.append(numbered(next)); {
				case err == nil:
					waiting = append(waiting, next)
					next++
				case !errors.Is(err, errSpoolFull) || len(waiting)+len(open) == 0:
					t.Fatalf("append: %v, with %d reports open", err, len(waiting)+len(open))
				}
			},
			"take": func(t *rapid.T) {
				report, segment, err := s.take()
				if err != nil || (report == nil) != (len(waiting) == 0) {
					t.Fatalf("take: %v %v, want one of %v", report, err, waiting)
				}
				if report == nil {
					return
				}
				if report.GetAgentVersion() != strconv.Itoa(waiting[0]) {
					t.Fatalf("took %v, want %d", report, waiting[0])
				}
				open, waiting = append(open, taken{waiting[0], segment}), waiting[1:]
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nothing is open")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				if err := s.settle(open[i].segment); err != nil {
					t.Fatal(err)
				}
				settled[open[i].number] = true
				open = slices.Delete(open, i, i+1)
			},
			"restart": func(t *rapid.T) {
				closeSpool(t, s)
				s = openSpool(t, folder, bound)
				reports := takeAll(t, s)
				closeSpool(t, s)
				s = openSpool(t, folder, bound)
				for _, o := range open {
					waiting = append(waiting, o.number)
				}
				slices.Sort(waiting)
				missing := slices.DeleteFunc(slices.Clone(waiting), func(n int) bool { return slices.Contains(reports, n) })
				if len(missing) > 0 || !slices.IsSorted(reports) {
					t.Fatalf("the next process finds %v, want %v", reports, waiting)
				}
				for _, n := range reports {
					if !slices.Contains(waiting, n) && !settled[n] {
						t.Fatalf("the next process finds %d, which nobody wrote", n)
					}
				}
				open, waiting = nil, reports
			},
			"": func(t *rapid.T) {
				if _, size := filesOf(t, folder); size != s.size || size > bound {
					t.Fatalf("the files have %d bytes, the spool says %d, the bound is %d", size, s.size, bound)
				}
				if len(waiting)+len(open) == 0 && s.size != 0 {
					t.Fatalf("%d bytes are left of settled reports", s.size)
				}
			},
		})
	})
}

// What is damaged is cut off or skipped; what stands before it, behind it, and in other files, is not.
func TestSpoolSkipsDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(text []byte) []byte // of the newest file
		want   []int                    // reports that are left of its 5
	}{
		"nothing":               {func(text []byte) []byte { return text }, []int{110, 111, 112, 113, 114}},
		"the last byte is gone": {func(text []byte) []byte { return text[:len(text)-1] }, []int{110, 111, 112, 113}},
		"half a header":         {func(text []byte) []byte { return append(text, 1, 2, 3) }, []int{110, 111, 112, 113, 114}},
		"a header alone": {
			func(text []byte) []byte { return append(text, 9, 0, 0, 0, 1, 2, 3, 4) }, []int{110, 111, 112, 113, 114},
		},
		"zeros": {func(text []byte) []byte { return append(text, make([]byte, 4096)...) }, []int{110, 111, 112, 113, 114}},
		"a huge length": {
			func(text []byte) []byte { return append(text, 255, 255, 255, 255, 1, 2, 3, 4, 5) }, []int{110, 111, 112, 113, 114},
		},
		"a byte is another":    {func(text []byte) []byte { text[len(text)/2] ^= 1; return text }, []int{110, 111, 113, 114}},
		"the first length is":  {func(text []byte) []byte { text[0] ^= 1; return text }, []int{111, 112, 113, 114}},
		"a length is huge":     {func(text []byte) []byte { text[2*fiveRecords/5+3] = 255; return text }, []int{110, 111, 113, 114}},
		"a part is missing":    {func(text []byte) []byte { return slices.Delete(text, 10, 70) }, []int{112, 113, 114}},
		"the second is zeros":  {func(text []byte) []byte { clear(text[51:102]); return text }, []int{110, 112, 113, 114}},
		"the first ends early": {func(text []byte) []byte { return append(text[:20:20], text[51:]...) }, []int{111, 112, 113, 114}},
		"everything is gone":   {func([]byte) []byte { return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			s := openSpool(t, folder, 8*fiveRecords)
			for n := range 15 {
				if err := s.append(numbered(100 + n)); err != nil {
					t.Fatal(err)
				}
			}
			closeSpool(t, s)
			files, _ := filesOf(t, folder)
			if len(files) != 3 {
				t.Fatalf("%d files, want 3", len(files))
			}
			text, err := os.ReadFile(files[2])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[2], c.damage(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s = openSpool(t, folder, 8*fiveRecords)
			defer closeSpool(t, s)
			if err := s.append(numbered(200)); err != nil { // behind what is cut off
				t.Fatal(err)
			}
			want := slices.Concat([]int{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}, c.want, []int{200})
			if got := takeAll(t, s); !slices.Equal(got, want) {
				t.Errorf("reports %v, want %v", got, want)
			}
		})
	}
}

// A file that is damaged while the agent runs costs what is damaged, and no more; its room comes back with that of the others.
func TestSpoolIsDamagedWhileOpen(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := openSpool(t, folder, 8*fiveRecords)
	defer closeSpool(t, s)
	for n := range 15 {
		if err := s.append(numbered(100 + n)); err != nil {
			t.Fatal(err)
		}
	}
	for segment, offset := range map[int]int64{1: 60, 2: 4 * fiveRecords / 5} { // the second report of a file, the last of another
		if _, err := s.segments[segment].file.WriteAt([]byte{1, 2, 3, 4}, offset); err != nil {
			t.Fatal(err)
		}
	}
	want := []int{100, 101, 102, 103, 104, 105, 107, 108, 109, 110, 111, 112, 113}
	for _, n := range want {
		report, segment, err := s.take()
		if err != nil || report.GetAgentVersion() != strconv.Itoa(n) {
			t.Fatalf("took %v %v, want %d of %v", report, err, n, want)
		}
		if err := s.settle(segment); err != nil {
			t.Fatal(err)
		}
	}
	if report, _, err := s.take(); report != nil || err != nil {
		t.Errorf("in the end: %v %v", report, err)
	}
	if _, size := filesOf(t, folder); size != 0 || s.size != 0 {
		t.Errorf("the files have %d bytes, the spool says %d, want none", size, s.size)
	}
}

// A folder belongs to one spool at a time: who comes second touches nothing there, and gets in when the first has left.
func TestSpoolIsLocked(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := openSpool(t, folder, 1000)
	for n := range 2 {
		if err := s.append(numbered(n)); err != nil {
			t.Fatal(err)
		}
	}
	if second, err := OpenSpool(folder, 1000); err == nil {
		closeSpool(t, second)
		t.Error("two spools have one folder")
	}
	if err := s.append(numbered(2)); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	s = openSpool(t, folder, 1000)
	defer closeSpool(t, s)
	if got := takeAll(t, s); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("the next spool finds %v", got)
	}
}

func TestSpoolRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := openSpool(t, folder, 40)
	defer closeSpool(t, s)
	if err := s.append(numbered(1)); err == nil || errors.Is(err, errSpoolFull) {
		t.Errorf("a report that never fits: %v", err)
	}
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSpool(file, 100); err == nil {
		t.Error("a file instead of a folder is no error")
	}
}

// Whatever is in a file: the spool opens, keeps what can be read, and takes further reports behind it.
func FuzzSpool(f *testing.F) {
	s := openSpool(f, f.TempDir(), 1<<20)
	for n := range 3 {
		if err := s.append(numbered(n)); err != nil {
			f.Fatal(err)
		}
	}
	files, _ := filesOf(f, s.folder)
	closeSpool(f, s)
	whole, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append([]byte{0, 0, 0, 0}, whole...))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "000000000007.reports"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openSpool(t, folder, 1<<30)
		defer closeSpool(t, s)
		if err := s.append(numbered(7)); err != nil {
			t.Fatal(err)
		}
		var last *insightsv1.AgentReport
		for {
			report, segment, err := s.take()
			if err != nil {
				t.Fatal(err)
			}
			if report == nil {
				break
			}
			last = report
			if err := s.settle(segment); err != nil {
				t.Fatal(err)
			}
		}
		if last.GetAgentVersion() != "7" {
			t.Errorf("the last report is %v", last)
		}
		if _, size := filesOf(t, folder); size != 0 || s.size != 0 {
			t.Errorf("%d bytes are left, the spool says %d", size, s.size)
		}
	})
}

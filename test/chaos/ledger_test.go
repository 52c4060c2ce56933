package chaos

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// What a ledger knows of a report.
const (
	wasSent     = 1 << iota // it was about to be sent
	wasAcked                // it was acknowledged
	wasRejected             // it was rejected for good
)

// ledger is a file in which agents write down what they sent and what they were told, synced while they do.
type ledger struct {
	mu    sync.Mutex
	file  *os.File
	out   *bufio.Writer
	err   error
	stop  chan struct{}
	ended chan struct{}
}

const ledgerRecord = 9 // bytes: what, agent, number of the report

func newLedger(t *testing.T) *ledger {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{file: file, out: bufio.NewWriterSize(file, 1<<16), stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				l.sync()
			case <-l.stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(l.stop)
		<-l.ended
		_ = file.Close()
	})
	return l
}

// note writes one line.
func (l *ledger) note(what byte, agent, report int) {
	record := [ledgerRecord]byte{what}
	binary.LittleEndian.PutUint32(record[1:], uint32(agent))
	binary.LittleEndian.PutUint32(record[5:], uint32(report))
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.out.Write(record[:]); err != nil {
		l.err = err
	}
}

// sync brings all lines to the disk.
func (l *ledger) sync() {
	l.mu.Lock()
	err := l.out.Flush()
	l.mu.Unlock()
	if err == nil {
		err = l.file.Sync() // others may write meanwhile
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = err
	}
}

// read returns what the file says of each agent's reports.
func (l *ledger) read(t *testing.T, agents int) [][]byte {
	t.Helper()
	l.sync()
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil {
		t.Fatal("ledger:", err)
	}
	text, err := os.ReadFile(l.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	known := make([][]byte, agents)
	for in := bytes.NewReader(text); ; {
		var record [ledgerRecord]byte
		if _, err := io.ReadFull(in, record[:]); err == io.EOF {
			return known
		} else if err != nil {
			t.Fatal("ledger:", err)
		}
		agent, report := int(binary.LittleEndian.Uint32(record[1:])), int(binary.LittleEndian.Uint32(record[5:]))
		for len(known[agent]) <= report {
			known[agent] = append(known[agent], 0)
		}
		known[agent][report] |= record[0]
	}
}

// verdict is what comes out when ledgers are held against a database.
type verdict struct {
	acked    int
	lost     int // acknowledged, not stored
	foreign  int // stored, never sent
	rejected int
	betrayed int // rejected for good, and stored all the same
}

func (v verdict) String() string {
	return fmt.Sprintf(
		"%d acknowledged reports looked up by their bits: %d lost, %d foreign; %d rejected, %d of them stored", v.acked, v.lost, v.foreign,
		v.rejected, v.betrayed,
	)
}

func (v verdict) clean() bool { return v.lost == 0 && v.foreign == 0 && v.betrayed == 0 }

// judge compares what ledgers know of each agent's reports with the reports whose bits are stored. Foreign bits that belong to
// no report at all are counted by who reads them.
func judge(known [][]byte, stored []map[int]struct{}) (v verdict) {
	for agent, reports := range known {
		for n, what := range reports {
			_, is := stored[agent][n]
			if what&wasAcked != 0 {
				v.acked++
				if !is {
					v.lost++
				}
			}
			if what&wasRejected != 0 {
				v.rejected++
				if is {
					v.betrayed++
				}
			}
		}
		for n := range stored[agent] {
			if n >= len(reports) || reports[n]&wasSent == 0 {
				v.foreign++
			}
		}
	}
	return v
}

// A judge that finds nothing wrong in what is wrong would prove nothing.
func TestJudge(t *testing.T) {
	t.Parallel()
	known := [][]byte{{wasSent | wasAcked, wasSent | wasAcked, wasSent, wasSent | wasRejected}, {wasSent | wasAcked}}
	set := func(numbers ...int) map[int]struct{} {
		s := map[int]struct{}{}
		for _, n := range numbers {
			s[n] = struct{}{}
		}
		return s
	}
	for name, c := range map[string]struct {
		stored []map[int]struct{}
		want   verdict
	}{
		"all is well":               {[]map[int]struct{}{set(0, 1), set(0)}, verdict{acked: 3, rejected: 1}},
		"outcome unknown, stored":   {[]map[int]struct{}{set(0, 1, 2), set(0)}, verdict{acked: 3, rejected: 1}},
		"one lost":                  {[]map[int]struct{}{set(0), set(0)}, verdict{acked: 3, lost: 1, rejected: 1}},
		"never sent":                {[]map[int]struct{}{set(0, 1), set(0, 7)}, verdict{acked: 3, foreign: 1, rejected: 1}},
		"rejected and stored":       {[]map[int]struct{}{set(0, 1, 3), set(0)}, verdict{acked: 3, rejected: 1, betrayed: 1}},
		"stored under the neighbor": {[]map[int]struct{}{set(0, 1), set(1)}, verdict{acked: 3, lost: 1, foreign: 1, rejected: 1}},
	} {
		if got := judge(known, c.stored); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

//go:build failpoints

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/template-insights/insights/store/failpoint"
)

// armFailpoint makes this process do what its parent wants when it comes to a point, and write down that it did.
func armFailpoint(c serverConfig) {
	var passes atomic.Int64
	failpoint.Handle(func(p failpoint.Point) {
		if p != c.Point || passes.Add(1) != int64(c.Pass) {
			return
		}
		if file, err := os.OpenFile(c.Hits, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			_, _ = file.Write([]byte{'x'})
			_ = file.Close()
		}
		if c.Action == "panic" {
			panic("failpoint " + c.Point)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it is dead
	})
}

// leaveToFold makes sure that a server finds something to fold when it starts; it folds again after half an hour only.
func (f *fleet) leaveToFold(t *testing.T, c serverConfig) {
	t.Helper()
	db := openTables(t, f.database)
	defer db.Close()
	for {
		var due int
		each(t, db, fmt.Sprintf("SELECT COUNT(*) FROM usage_rows WHERE half_hour < %d", time.Now().Add(-2*time.Hour).Unix()/1800),
			func(scan func(...any) error) error { return scan(&due) })
		if due > 0 {
			return
		}
		p := startServer(t, c)
		f.awaitAcks(t, 50)
		p.kill()
	}
}

func countHits(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(text)
}

// The server dies between any two steps that make something durable: at each point of a commit, of its acknowledgement and of
// a fold. Each point must be hit.
func TestKillAtFailpoints(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		random := newRandom(t)
		f := newFleet(t, database, 8)
		config := newServerConfig(t, database)
		load := f.report(t, manner{address: config.GRPC})
		folder := t.TempDir()
		for range *hits {
			for _, i := range random.Perm(len(failpoint.Points())) {
				c := config
				c.Point, c.Action, c.Pass = failpoint.Points()[i], "kill", 1+random.IntN(8)
				if strings.HasPrefix(string(c.Point), "fold-") {
					c.Pass = 1 // perhaps there is one page only
					f.leaveToFold(t, config)
				}
				c.Hits = filepath.Join(folder, string(c.Point))
				p := startServer(t, c)
				late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
				_ = p.wait()
				late.Stop()
			}
		}
		p := startServer(t, config)
		load.stop()
		f.check(t, config.GRPC)
		p.stop(t)
		for _, point := range failpoint.Points() {
			n := countHits(t, filepath.Join(folder, string(point)))
			t.Logf("%d deaths at %s", n, point)
			if n != *hits {
				t.Errorf("%s: %d hits, want %d", point, n, *hits)
			}
		}
		if f.resent() == 0 {
			t.Error("nothing was resent")
		}
	})
}

// A panic at any of the points costs no more than the streams whose reports were on their way.
func TestPanicAtFailpoints(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		f := newFleet(t, database, 8)
		config := newServerConfig(t, database)
		load := f.report(t, manner{address: config.GRPC})
		folder := t.TempDir()
		for _, point := range failpoint.Points() {
			c := config
			c.Point, c.Action, c.Pass, c.Hits = point, "panic", 1, filepath.Join(folder, string(point))
			f.leaveToFold(t, config)
			p := startServer(t, c)
			await(t, "a panic at "+string(point), func() bool { return countHits(t, c.Hits) > 0 })
			f.awaitAcks(t, 100)
			p.kill()
		}
		p := startServer(t, config)
		load.stop()
		f.check(t, config.GRPC)
		p.stop(t)
	})
}

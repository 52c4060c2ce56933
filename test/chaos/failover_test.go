package chaos

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The primary is killed under load and its standby becomes the primary. Servers know both hosts: they find the new primary by themselves,
// agents lose nothing, and trouble so short is none to health checks.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary, database := durableCluster(t)
	standby, err := primary.StartStandby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	both := strings.Replace(database, u.Host, fmt.Sprintf("%s,127.0.0.1:%d", u.Host, standby.Port), 1)
	f := newFleet(t, both+"&target_session_attrs=primary", 16) // the test itself has to say what servers do by themselves
	p := startServer(t, newServerConfig(t, both))
	load, events := f.report(t, manner{address: p.GRPC}), f.tell(t, p.GRPC)
	f.awaitAll(t)
	f.awaitAcks(t, 500)
	streams := f.streams()
	killed := time.Now()
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	f.awaitSilence(t)
	promoting := time.Now()
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	f.awaitRecovery(t, fmt.Sprintf("a promotion that took %v", promoted.Sub(promoting).Round(time.Millisecond)))
	without := time.Since(killed)
	f.awaitAcks(t, 500)
	events.stop()
	load.stop()
	if n := f.streams() - streams; n > 0 {
		t.Errorf("%d streams broke", n)
	}
	if text := p.readLog(); without < 8*time.Second && strings.Contains(text, "health changed") {
		t.Errorf("health changed in a failover of %v: %s", without, text)
	}
	v := f.check(t, p.GRPC)
	p.stop(t)
	events.check(t)
	t.Logf("%d acknowledged, %d resent", v.acked, f.resent())
}

package chaos

import (
	"slices"
	"testing"
	"time"
)

// The server is killed at random moments under load while its agents resend.
func TestKillServer(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		random := newRandom(t)
		f := newFleet(t, database, 16)
		config := newServerConfig(t, database)
		load := f.report(t, manner{address: config.GRPC})
		var first []time.Duration
		for range *kills {
			p := startServer(t, config)
			f.awaitAcks(t, 1)
			first = append(first, time.Since(p.began))
			<-time.After(time.Duration(random.Int64N(int64(500 * time.Millisecond)))) // any moment is as good as another
			p.kill()
		}
		p := startServer(t, config)
		load.stop()
		v := f.check(t, config.GRPC)
		p.stop(t)
		slices.Sort(first)
		t.Logf("%d kills, %d streams, %d resent; from the start of a process to the first acknowledgement: p50 %v, p99 %v",
			*kills, f.streams(), f.resent(), quantile(first, 0.5), quantile(first, 0.99))
		if f.resent() == 0 || v.acked < *kills*len(f.agents) {
			t.Errorf("the campaign proves nothing: %d acknowledged, %d resent", v.acked, f.resent())
		}
	})
}

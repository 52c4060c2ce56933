package chaos

import (
	"testing"
	"time"
)

// The server is killed at random moments under load while its agents resend.
func TestKillServer(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		random := newRandom(t)
		f := newFleet(t, database, 16)
		config := newServerConfig(t, database)
		load, events := f.report(t, manner{address: config.GRPC}), f.tell(t, config.GRPC)
		var first delays
		memory := 0
		for range *kills {
			p := startServer(t, config)
			f.awaitAcks(t, 1)
			first.add(time.Since(p.began))
			<-time.After(time.Duration(random.Int64N(int64(time.Second)))) // any moment is as good as another
			_, most := p.memory()
			memory = max(memory, most)
			p.kill()
		}
		p := startServer(t, config)
		f.awaitAll(t)
		events.stop()
		load.stop()
		v := f.check(t, config.GRPC)
		p.stop(t)
		events.check(t)
		t.Logf(
			"%d kills, %d streams, %d resent, at most %d MiB; from the start of a process to the first acknowledgement: %v", *kills,
			f.streams(), f.resent(), memory, &first,
		)
		if f.resent() == 0 || v.acked < *kills*len(f.agents) {
			t.Errorf("the campaign proves nothing: %d acknowledged, %d resent", v.acked, f.resent())
		}
	})
}

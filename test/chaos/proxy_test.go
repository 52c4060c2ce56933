package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// proxy stands between a client and a server and does to their connection what networks do.
type proxy struct {
	*toxiproxy.Proxy
}

// newProxy starts a proxy before an address.
func newProxy(t *testing.T, upstream string) proxy {
	t.Helper()
	p := proxy{
		toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), t.Name(), "127.0.0.1:0", upstream),
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// proxyDatabase starts a proxy before a Postgres and returns the database's name through it.
func proxyDatabase(t *testing.T, database string) (proxy, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.Listen
	return p, u.String()
}

// Directions of a toxic.
const (
	toServer   = "upstream"
	fromServer = "downstream"
)

// add brings trouble of a kind to all connections.
func (p proxy) add(t *testing.T, kind, direction string, attributes map[string]any) {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"name": kind + direction, "type": kind, "stream": direction, "toxicity": 1, "attributes": attributes,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// heal ends all trouble.
func (p proxy) heal() { p.Toxics.ResetToxics(context.Background()) }

// blackHole swallows everything in both directions and closes nothing.
func (p proxy) blackHole(t *testing.T) {
	t.Helper()
	p.add(t, "timeout", toServer, map[string]any{"timeout": 0})
	p.add(t, "timeout", fromServer, map[string]any{"timeout": 0})
}

// cutCommit closes a connection to Postgres at a statement that merges usage rows: when it is sent, so that it never arrives,
// or when it is answered, so that it is committed and nobody learns it.
type cutCommit struct {
	Every int64 `json:"every"` // so many statements one is cut
	After bool  `json:"after"` // it was answered
}

// cutCommits counts what was done: statements that never arrived, and those whose answer never did.
var cutCommits struct{ seen, before, after atomic.Int64 }

// Pipe implements [toxics.Toxic].
func (c *cutCommit) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			mark, count := "app_", &cutCommits.before // the apps of a fleet, among the parameters
			if c.After {
				mark, count = "INSERT 0 ", &cutCommits.after // the end of a merge, among the answers
			}
			if bytes.Contains(chunk.Data, []byte(mark)) && cutCommits.seen.Add(1)%c.Every == 0 {
				count.Add(1)
				stub.Close()
				return
			}
			stub.Output <- chunk
		}
	}
}

// hold keeps everything back until it is taken away, and loses nothing: a network, or a server behind it, that stands still.
type hold struct{}

// Pipe implements [toxics.Toxic].
func (*hold) Pipe(stub *toxics.ToxicStub) { <-stub.Interrupt }

func init() {
	toxics.Register("cut_commit", new(cutCommit))
	toxics.Register("hold", new(hold))
}

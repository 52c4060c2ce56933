// Package chaos breaks the service on purpose and holds its answers against ledgers that agents keep outside of it. Servers
// run in processes of their own; the flags below turn the short forms that every test run has into campaigns.
package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/template-insights/insights/store/storetest"
)

// Sizes of the campaigns. The defaults are the short forms.
var (
	seed          = flag.Uint64("seed", 0, "begin of all random choices, as a failed run printed it; 0: another one each time")
	kills         = flag.Int("kills", 5, "kills of the server, on each database")
	reporterKills = flag.Int("reporter-kills", 2, "kills of the server, and of agents with a spool")
	postgresKills = flag.Int("postgres-kills", 4, "kills and shutdowns of Postgres")
	hits          = flag.Int("hits", 1, "times that a server stops at each failpoint, on each database")
	cuts          = flag.Int("cuts", 10, "connections to the database that are cut at a commit")
	rounds        = flag.Int("rounds", 1, "times that all parts of a large installation are killed")
	away          = flag.Duration("away", 15*time.Second, "how long the primary is away whose replicas are there")
	outage        = flag.Duration("outage", 5*time.Second, "length of an outage of the database under load")
	fills         = flag.Int("fills", 2, "times that the disk is full")
	deliveries    = flag.Int("deliveries", 50_000, "reports that are delivered twice, late and in disorder")
	rolls         = flag.Int("rolls", 1, "rolling restarts of three replicas")
	migrations    = flag.Int("migrations", 2, "times that three replicas migrate an empty database at once, on each database")
	rotations     = flag.Int("rotations", 2, "times that the certificate changes")
	idle          = flag.Int("idle", 100, "agents that are connected and say nothing")
	sockets       = flag.Int("sockets", 300, "connections that never say what they want")
	resets        = flag.Int("resets", 5000, "calls that are reset as soon as they are made")
	unread        = flag.Int("unread", 60, "connections over which answers of 16 MB are asked for and not read")
	comings       = flag.Int("comings", 30, "agents that come and go in each of the ways to go")
)

func TestMain(m *testing.M) {
	if isServer() {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if isReporter() {
		if err := runReporter(); err != nil {
			fmt.Fprintln(os.Stderr, "report:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Tests wait for processes more than they compute, so more of them run at a time than there are processors, unless told.
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: campaigns take minutes: make test")
		os.Exit(0)
	}
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		if err := parallel.Value.Set("6"); err != nil {
			panic(err)
		}
	}
	// The proxy's library leaves some of a connection behind that was cut while it had something to carry.
	os.Exit(storetest.Main(m, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/stream.(*ChanWriter).Write")))
}

// newRandom makes the choices of a test, and tells how to make them again.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("replay with -run='^%s$' -seed=%d", t.Name(), n)
	return rand.New(rand.NewPCG(n, 0))
}

// databases are the kinds of databases.
var databases = map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres}

// onBoth runs a test on both.
func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	t.Helper()
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

package server_test

import (
	"testing"
	"time"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
)

// running is a server in a test, with what several files of these tests do with it.
type running struct{ *servertest.Server }

func run(t testing.TB, database string, now time.Time, change func(*server.Options)) *running {
	t.Helper()
	return &running{servertest.Run(t, database, now, change)}
}

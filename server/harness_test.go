package server_test

import (
	"testing"
	"time"

	"github.com/template-insights/insights/server"
)

// running is a server in a test, with what several files of these tests do with it.
type running struct{ *harness }

func run(t *testing.T, database string, now time.Time, change func(*server.Options)) *running {
	t.Helper()
	return &running{serve(t, database, now, change)}
}

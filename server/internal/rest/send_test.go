package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/template-insights/insights/server/internal/guard"
)

// connection notes how an answer is sent over it.
type connection struct {
	*httptest.ResponseRecorder
	deadline time.Time   // of the next part
	parts    []int       // bytes
	limits   []time.Time // of each
}

func (c *connection) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *connection) Write(b []byte) (int, error) {
	c.parts, c.limits = append(c.parts, len(b)), append(c.limits, c.deadline)
	c.deadline = time.Time{}
	return c.ResponseRecorder.Write(b)
}

// Each part of an answer has to be taken at 1 KiB/s, and all of them before the deadline of the answer.
func TestSlowReadersAreCut(t *testing.T) {
	t.Parallel()
	const size = 10*guard.SendPart + 1
	to := &connection{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	send(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n, err := w.Write(make([]byte, size)); n != size || err != nil {
			t.Errorf("%d bytes are sent: %v", n, err)
		}
	}), guard.NewRequests()).ServeHTTP(to, httptest.NewRequest(http.MethodGet, "/", nil))
	after := time.Now()
	if to.Body.Len() != size || len(to.parts) != 11 {
		t.Errorf("%d bytes arrive in parts of %v", to.Body.Len(), to.parts)
	}
	for i, n := range to.parts {
		if limit := to.limits[i]; n > 16<<10 || limit.Before(before) || limit.After(after.Add(16*time.Second)) {
			t.Errorf("part %d of %d bytes may be taken until %v after the call", i, n, limit.Sub(after))
		}
	}
	late := &sender{ResponseWriter: to, connection: http.NewResponseController(to), deadline: before}
	if _, err := io.WriteString(late, "x"); err != nil || !to.limits[len(to.limits)-1].Equal(before) {
		t.Errorf("%v; the last part may be taken until %v, want the deadline of the answer", err, to.limits[len(to.limits)-1])
	}
}

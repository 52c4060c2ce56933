package guard

import (
	"context"
	"math"
	"testing"
	"time"
)

// Over gRPC a caller may be as patient as it likes; the server is not.
func TestDeadlinesAreCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ asked, most time.Duration }{
		{time.Second, time.Second}, {callTimeout, callTimeout}, {math.MaxInt64, callTimeout},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.asked)
		_, err := limitUnary(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
			if end, limited := ctx.Deadline(); !limited || time.Until(end) > c.most {
				t.Errorf("asked for %v: until %v", c.asked, end)
			}
			return nil, nil
		})
		if cancel(); err != nil {
			t.Error(err)
		}
	}
}

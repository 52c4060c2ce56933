package insights

import (
	"testing"
)

func TestRating(t *testing.T) {
	t.Parallel()
	for ms, want := range map[float64]string{
		-1: "unknown", 0: "good", 149.9: "good", 150: "moderate", 300: "moderate", 300.1: "poor", 30_000: "poor",
	} {
		if got := rating(ms); got != want {
			t.Errorf("%v ms is %s, want %s", ms, got, want)
		}
	}
}

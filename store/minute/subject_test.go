package minute

import (
	"math"
	"testing"
)

func TestSubject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		person  int64
		seat    int32
		subject int64
	}{
		{1, 0, 1 << 24},
		{1, 1, 1<<24 + 1},
		{3, MaxSeat, 4<<24 - 1},
		{MaxPerson, MaxSeat, math.MaxInt64},
	} {
		if got := SubjectOf(c.person, c.seat); got != c.subject {
			t.Errorf("person %d at seat %d is %d, want %d", c.person, c.seat, got, c.subject)
		}
		if person, seat := PersonOf(c.subject), SeatOf(c.subject); person != c.person || seat != c.seat {
			t.Errorf("subject %d is person %d at seat %d, want %d and %d", c.subject, person, seat, c.person, c.seat)
		}
	}
}

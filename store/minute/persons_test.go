package minute

import (
	"slices"
	"testing"
)

func TestPersonsPacked(t *testing.T) {
	t.Parallel()
	for _, persons := range [][]int64{nil, {1}, {1, 2, 3}, {7, MaxPerson - 1, MaxPerson}} {
		got, err := UnpackPersons(PackPersons(persons))
		if err != nil || !slices.Equal(got, persons) {
			t.Errorf("%v became %v, %v", persons, got, err)
		}
	}
	for name, packed := range map[string][]byte{
		"cut":              PackPersons([]int64{1 << 20})[:2],
		"nobody":           {0},
		"twice":            {5, 0},
		"beyond the last":  PackPersons([]int64{MaxPerson, MaxPerson + 1}),
		"longer than 64 b": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		if got, err := UnpackPersons(packed); err == nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}

package server_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// optional are the keys that must be absent where a vector does not show them; other keys may be more than it shows.
var optional = []string{"report", "interval_reports", "options", "sensitive"}

// compare lists how an answer differs from what a vector expects of it, at a JSON pointer.
func (v vector) compare(pointer string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		return v.compareObject(pointer, want, got)
	case []any:
		return v.compareList(pointer, want, got)
	case float64:
		if number, ok := got.(float64); ok {
			if strings.Contains(pointer, "/latency_ms/") && math.Abs(number-want) <= 0.03*math.Abs(want) {
				return nil
			}
			if number == want {
				return nil
			}
		}
	case string:
		if strings.HasSuffix(pointer, "_time") && sameTime(want, got) {
			return nil
		}
		if want == got {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	if slices.Contains(v.Alternates[pointer], got) {
		return nil
	}
	return []string{fmt.Sprintf("%s: got %v (%T), want %v", pointer, got, got, want)}
}

func (v vector) compareObject(pointer string, want map[string]any, got any) (differences []string) {
	object, ok := got.(map[string]any)
	if !ok {
		return []string{fmt.Sprintf("%s: got %v, want an object", pointer, got)}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value, there := object[key]
		if !there {
			differences = append(differences, fmt.Sprintf("%s/%s is missing", pointer, key))
			continue
		}
		differences = append(differences, v.compare(pointer+"/"+key, want[key], value)...)
	}
	for _, key := range optional {
		_, wanted := want[key]
		if value, there := object[key]; there && !wanted {
			differences = append(differences, fmt.Sprintf("%s/%s: got %v, want it absent", pointer, key, value))
		}
	}
	return differences
}

func (v vector) compareList(pointer string, want []any, got any) (differences []string) {
	list, ok := got.([]any)
	if !ok || len(list) != len(want) {
		return []string{fmt.Sprintf("%s: got %v, want %v", pointer, got, want)}
	}
	for i := range want {
		differences = append(differences, v.compare(fmt.Sprintf("%s/%d", pointer, i), want[i], list[i])...)
	}
	return differences
}

// sameTime says whether two texts are the same instant shown with the same offset.
func sameTime(want string, got any) bool {
	text, ok := got.(string)
	if !ok {
		return false
	}
	a, errA := time.Parse(time.RFC3339, want)
	b, errB := time.Parse(time.RFC3339, text)
	_, offsetA := a.Zone()
	_, offsetB := b.Zone()
	return errA == nil && errB == nil && a.Equal(b) && offsetA == offsetB
}

// The comparison is what all vectors rest on, so it has to tell every kind of difference.
func TestCompareTellsDifferences(t *testing.T) {
	t.Parallel()
	v := vector{Alternates: map[string][]any{"/name": {"other"}}}
	for name, c := range map[string]struct {
		want, got any
		differs   bool
	}{
		"equal":            {map[string]any{"a": 1.0}, map[string]any{"a": 1.0}, false},
		"more keys":        {map[string]any{"a": 1.0}, map[string]any{"a": 1.0, "b": 2.0}, false},
		"missing key":      {map[string]any{"a": 1.0}, map[string]any{}, true},
		"key to be absent": {map[string]any{"a": 1.0}, map[string]any{"a": 1.0, "report": nil}, true},
		"number as text":   {map[string]any{"a": 1.0}, map[string]any{"a": "1"}, true},
		"other number":     {map[string]any{"a": 600.0}, map[string]any{"a": 601.0}, true},
		"near latency": {
			map[string]any{"latency_ms": map[string]any{"p50": 100.0}}, map[string]any{"latency_ms": map[string]any{"p50": 102.9}}, false,
		},
		"far latency": {
			map[string]any{"latency_ms": map[string]any{"p50": 100.0}}, map[string]any{"latency_ms": map[string]any{"p50": 103.1}}, true,
		},
		"unknown latency": {
			map[string]any{"latency_ms": map[string]any{"p50": -1.0}}, map[string]any{"latency_ms": map[string]any{"p50": 1.0}}, true,
		},
		"order of a list": {[]any{1.0, 2.0}, []any{2.0, 1.0}, true},
		"longer list":     {[]any{1.0}, []any{1.0, 2.0}, true},
		"null for a list": {[]any{}, nil, true},
		"UTC in two ways": {
			map[string]any{"start_time": "2023-08-15T00:00:00Z"}, map[string]any{"start_time": "2023-08-15T00:00:00+00:00"}, false,
		},
		"other offset": {
			map[string]any{"start_time": "2023-08-15T00:00:00Z"}, map[string]any{"start_time": "2023-08-15T02:00:00+02:00"}, true,
		},
		"accepted alternate":  {map[string]any{"name": "one"}, map[string]any{"name": "other"}, false},
		"alternate elsewhere": {map[string]any{"title": "one"}, map[string]any{"title": "other"}, true},
	} {
		if got := v.compare("", c.want, c.got); (len(got) > 0) != c.differs {
			t.Errorf("%s: differences are %v", name, got)
		}
	}
}

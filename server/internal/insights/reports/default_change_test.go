package reports

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAdviseDefault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now     string
		choices []Choice
		want    *defaultChange
	}{
		"more than half":        {"s", []Choice{{"s", 2, false}, {"l", 3, false}}, &defaultChange{"s", "l", 3, 5}},
		"half":                  {"s", []Choice{{"s", 3, false}, {"l", 3, false}}, nil},
		"few workspaces":        {"s", []Choice{{"l", 4, false}}, nil},
		"no default":            {"", []Choice{{"l", 5, false}}, nil},
		"the default itself":    {"l", []Choice{{"l", 5, false}}, nil},
		"cannot be chosen":      {"s", []Choice{{"l", 5, true}}, nil},
		"still counts in all":   {"s", []Choice{{"l", 3, false}, {"m", 3, true}}, nil},
		"nobody chose anything": {"s", nil, nil},
	} {
		if diff := cmp.Diff(c.want, AdviseDefault(c.now, c.choices)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Not even nearly all is called all.
func TestAdviceAbout(t *testing.T) {
	t.Parallel()
	const want = "99 % of 1000 workspaces change region from eu to us: consider us as the default."
	if got := (defaultChange{"eu", "us", 999, 1000}).About("region"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

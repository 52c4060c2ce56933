package background

import (
	"errors"
	"strings"
	"testing"
)

// A panic becomes an error that says where; an error stays what it is.
func TestContain(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	if err := Contain(func() error { return failed }); !errors.Is(err, failed) || errors.Is(err, ErrPanicked) {
		t.Errorf("an error: %v", err)
	}
	if err := Contain(func() error { panic("at the disco") }); !errors.Is(err, ErrPanicked) ||
		!strings.Contains(err.Error(), "at the disco") || !strings.Contains(err.Error(), "background_test.go") {
		t.Errorf("a panic: %v", err)
	}
	if err := Contain(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

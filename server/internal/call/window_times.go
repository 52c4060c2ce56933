package call

import (
	"fmt"
)

// WindowRequest is a question about a window.
type WindowRequest interface {
	GetStartTime() string
	GetEndTime() string
	GetTimezone() string
}

// optionalWindow is a question about the values of one dimension, which has a window of its own unless it names one.
type optionalWindow interface{ GetDimension() string }

// MissingTimes names the times that a question about a window lacks. Its access rule tells them together with ids that
// cannot be read; everything else that is wrong with a question is told one by one.
func MissingTimes(request any) []FieldError {
	r, ok := request.(WindowRequest)
	if _, optional := request.(optionalWindow); !ok || optional && r.GetStartTime() == "" && r.GetEndTime() == "" {
		return nil
	}
	var missing []FieldError
	for _, f := range []struct{ name, value string }{{"start_time", r.GetStartTime()}, {"end_time", r.GetEndTime()}} {
		if f.value == "" {
			missing = append(missing, FieldError{f.name, fmt.Sprintf("Query param %q is required", f.name)})
		}
	}
	return missing
}

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

// MissingTimes names the times that a question about a window lacks. Its access rule tells them together with ids that
// cannot be read; everything else that is wrong with a question is told one by one.
func MissingTimes(request any) []FieldError {
	r, ok := request.(WindowRequest)
	if !ok {
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

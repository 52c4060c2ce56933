package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
)

// A server that cannot answer right now is asked again, any other refusal is final.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first int // status of the first answer; those after it are good
		calls int64
		fails bool
	}{
		"ready":       {http.StatusOK, 1, false},
		"unavailable": {http.StatusServiceUnavailable, 2, false},
		"forbidden":   {http.StatusNotFound, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) == 1 {
					w.WriteHeader(c.first)
				}
			}))
			defer server.Close()
			f := remoteFlags{Address: server.URL}
			body, err := f.ask(t.Context(), console{environment: []string{tokenVariable + "=x"}}, "/", url.Values{})
			if err == nil {
				err = body.Close()
			}
			if (err != nil) != c.fails || calls.Load() != c.calls {
				t.Errorf("%d calls, %v; want %d", calls.Load(), err, c.calls)
			}
		})
	}
}

package server

import (
	"net/http"
	"net/http/pprof"
)

// pprofHandler serves profiles where go tool pprof looks for them. They show much of what is in memory, so the address
// must not be reachable from elsewhere.
func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

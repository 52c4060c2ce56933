package main

import "github.com/template-insights/insights/server"

// listenAddress is a flag that says where a server listens. Empty is as if it were not there.
type listenAddress string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *listenAddress) UnmarshalText(text []byte) error {
	*a = listenAddress(text)
	if *a == "" {
		return nil
	}
	return server.CheckAddress(string(text))
}

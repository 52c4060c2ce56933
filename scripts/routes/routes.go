// Package routes reads the REST routes of the contract for the programs that generate something from it.
package routes

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// Route is the REST form of an RPC.
type Route struct {
	// Selector is the full name of the RPC.
	Selector string
	// Get, Post and Delete are the path, under its verb; the others are empty.
	Get, Post, Delete string
	// ResponseBody is the field of the answer that REST shows alone. Empty: the whole answer.
	ResponseBody string `yaml:"response_body"`
}

// Verb returns verb and path.
func (r Route) Verb() (verb, path string) {
	switch {
	case r.Get != "":
		return "GET", r.Get
	case r.Post != "":
		return "POST", r.Post
	default:
		return "DELETE", r.Delete
	}
}

// Read reads the routes in a file by the full names of their RPCs.
func Read(file string) (map[string]Route, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	var table struct{ HTTP struct{ Rules []Route } }
	if err := yaml.Unmarshal(text, &table); err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	routes := map[string]Route{}
	for _, r := range table.HTTP.Rules {
		if _, path := r.Verb(); path == "" {
			return nil, fmt.Errorf("route of %s: neither get nor post nor delete", r.Selector)
		}
		routes[r.Selector] = r
	}
	return routes, nil
}

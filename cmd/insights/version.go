package main

import (
	"fmt"
	"runtime/debug"
)

// version is set when the program is built.
var version string

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(c console) error {
	_, err := fmt.Fprintln(c.out, versionText())
	return err
}

// versionText names the program and its version.
func versionText() string {
	v := version
	if v == "" {
		v = "dev"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v = info.Main.Version
		}
	}
	return "insights " + v
}

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
func versionText() string { return "insights " + versionNumber() }

// versionNumber is the version of the program.
func versionNumber() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// parse reads a command line, and fails with what is wrong with it.
func parse(parser *kong.Kong, args []string) (*kong.Context, error) {
	command, err := parser.Parse(args)
	if err != nil {
		return nil, usageError(err.Error())
	}
	return command, checkRanges(command.Flags())
}

// leaveOutFaults returns the arguments of serve that can be read, and what is wrong with the others and with variables, which set nothing
// any more. The parser stops at the first fault, so each setting is parsed alone: serve needs none of them, and takes flags only.
func leaveOutFaults(parser *kong.Kong, args []string) ([]string, error) {
	if len(args) == 0 || args[0] != "serve" {
		return args, nil
	}
	var errs []error
	serves := func(setting ...string) bool {
		_, err := parse(parser, append([]string{"serve"}, setting...))
		errs = append(errs, err)
		return err == nil
	}
	serve := parser.Model.Children[slices.IndexFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == "serve" })]
	variables := make([][]string, len(serve.Flags))
	for i, flag := range serve.Flags {
		variables[i], flag.Tag.Envs = flag.Tag.Envs, nil
	}
	for i, flag := range serve.Flags {
		if flag.Tag.Envs = variables[i]; !serves() {
			flag.Tag.Envs = nil
		}
	}
	read := args[:1:1]
	for rest := args[1:]; len(rest) > 0; {
		n := 1 // a flag goes on until the next one
		for n < len(rest) && !strings.HasPrefix(rest[n], "-") {
			n++
		}
		if serves(rest[:n]...) {
			read = append(read, rest[:n]...)
		}
		rest = rest[n:]
	}
	return read, errors.Join(errs...)
}

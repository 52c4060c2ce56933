package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// completions are what shells run at their start. What a word may become they ask the program, so they know every version of it.
var completions = map[string]string{
	"bash": `_insights() {
    local IFS=$'\n'
    COMPREPLY=($(insights complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _insights insights
`,
	"zsh": `#compdef insights
_insights() {
    local -a found
    found=(${(f)"$(insights complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _insights insights
`,
	"fish": `complete --command insights --arguments '(insights complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"${enum}: bash reads source <(insights completion bash), zsh the same, fish insights completion fish | source."`
}

// Run prints the lines.
func (f completionCommand) Run(c console) error {
	_, err := fmt.Fprint(c.out, completions[f.Shell])
	return err
}

type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints what the last word may become, one a line; nothing means the name of a file, or a value that nobody knows.
func (f completeCommand) Run(c console, line *kong.Context) error {
	words := f.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	for _, word := range complete(line.Model.Node, words) {
		if _, err := fmt.Fprintln(c.out, word); err != nil {
			return err
		}
	}
	return nil
}

// complete is what the last of the words behind the name of a command may become.
func complete(node *kong.Node, words []string) (may []string) {
	last := words[len(words)-1]
	var waiting *kong.Flag // for its value
	for _, word := range words[:len(words)-1] {
		switch {
		case waiting != nil:
			waiting = nil
		case strings.HasPrefix(word, "-"):
			if flag := flagOf(node, word); flag != nil && !flag.IsBool() {
				waiting = flag
			}
		default:
			for _, child := range node.Children {
				if child.Name == word {
					node = child
				}
			}
		}
	}
	add := func(word string) {
		if word != "" && strings.HasPrefix(word, last) {
			may = append(may, word)
		}
	}
	switch {
	case waiting != nil:
		for _, value := range waiting.EnumSlice() {
			add(value)
		}
	case strings.HasPrefix(last, "-"):
		for _, flags := range node.AllFlags(true) {
			for _, flag := range flags {
				add("--" + flag.Name)
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				add(child.Name)
			}
		}
		for _, argument := range node.Positional {
			for _, value := range argument.EnumSlice() {
				add(value)
			}
		}
	}
	return may
}

// flagOf is the flag of a command that a word names; nil for a word that holds its value as well, and for one that nobody knows.
func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, flags := range node.AllFlags(false) {
		for _, flag := range flags {
			if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

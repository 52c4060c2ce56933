// Package inventory says of every column of the database whether it is about a person, what becomes of it, and why. Tests of the store hold
// it against both databases. It knows nothing else.
package inventory

import (
	_ "embed"
	"strings"
)

//go:embed columns.txt
var text string

// Column is what is said of one. What becomes of it is a word that columns.txt explains.
type Column struct {
	Table     string `json:"table"`
	Name      string `json:"column"`
	Purpose   string `json:"purpose"` // of the table
	About     string `json:"about"`   // person or nobody
	Erased    string `json:"erased"`
	Pseudonym string `json:"pseudonym"`
	Aggregate string `json:"aggregate"`
	Why       string `json:"why,omitempty"` // that becomes of it
}

// Columns are all, in the order of their tables.
func Columns() (all []Column) {
	comment, began := "", false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			comment = ""
		case fields[0] == "#":
			comment = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		case fields[0] == "column":
			began = true
		case began:
			table, name, _ := strings.Cut(fields[0], ".")
			all = append(all, Column{
				Table: table, Name: name, Purpose: comment, About: fields[1], Erased: fields[2], Pseudonym: fields[3], Aggregate: fields[4],
				Why: strings.Join(fields[5:], " "),
			})
		}
	}
	return all
}

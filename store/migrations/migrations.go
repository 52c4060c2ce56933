// Package migrations holds the schema of the database as the steps that lead to it, one file or a pair of files each.
package migrations

import "embed"

// FS has the files. One whose name ends in a kind of database, like 00001_initial.sqlite.sql, is for that kind alone, any other is for
// both kinds.
//
//go:embed *.sql
var FS embed.FS

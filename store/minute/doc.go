// Package minute is the algebra of usage: minutes are bits, and union is the only thing that ever happens to them.
//
// A Row holds the minutes of one half hour of a subject: a person at a workspace. Rows of closed days lie in a Page per
// template and day, which is read in columns as a Table. A Window says which minutes a question is about, and a Counter
// goes over the tables of a window once and fills every section of its answer, which is about people, wherever they sat; a
// LatencyCounter does the same for latency samples.
//
// The package is pure: it does no I/O, knows no clock and no database. Days are UTC days, counted, like half hours and
// minutes, from the Unix epoch.
package minute

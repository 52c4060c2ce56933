// Package store keeps what the service knows: usage as sets of minutes, the catalog that gives them names, and access.
//
// Usage lives in two places of one shape. The present is rows that merge (table usage_open), the past is one page per
// template and UTC day (table usage_day). Writing is union, folding moves rows into pages, reading takes the union of
// both places; so order, repetition and delay of reports change nothing.
//
// Postgres and SQLite run the same statements. What must differ is a method of dialect: both implementations stand side by side,
// in the file of what they do.
package store

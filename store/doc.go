// Package store keeps what the service knows: usage as sets of minutes, the catalog that gives them names, and access.
//
// Usage lives in two places of one shape. The present is rows that merge (table usage_rows), the past is one page per
// template and UTC day (table usage_pages). Writing is union, folding moves rows into pages, reading takes the union of
// both places; so order, repetition and delay of reports change nothing.
//
// The package is the facade of three rooms: usage merges, folds and reads minutes, db has the connections and what differs between
// Postgres and SQLite, archive backs up and restores. Nobody outside of the store uses the rooms.
package store

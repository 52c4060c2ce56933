// Package access decides who may do what: permissions, the roles that hold them, the tokens that prove who asks, and
// the scope of templates that an answer may cover.
//
// Everything here is pure: no database, no transport. Whatever is unknown, malformed or not named holds nothing.
package access

// Package admin changes what questions and reports rely on: tokens and roles, the catalog, privacy modes and pseudonyms,
// and erasing. It also tells people what is stored about them. It knows nothing of streams and of REST.
package admin

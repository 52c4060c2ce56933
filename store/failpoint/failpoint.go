// Package failpoint names the moments at which chaos campaigns stop the program. They exist with the build tag failpoints
// only; without it Hit does nothing and costs nothing.
package failpoint

// Point is one of these moments.
type Point string

// All there are. Between them lies every statement that makes something durable.
const (
	BeforeCommit          Point = "before-commit"          // usage rows are sent to the database, not committed
	AfterCommit           Point = "after-commit"           // they are committed, nobody knows yet
	BeforeAcknowledgement Point = "before-acknowledgement" // the server knows, its agent does not
	FoldTaken             Point = "fold-taken"             // rows are deleted for their page
	FoldRead              Point = "fold-read"              // the page is read
	FoldWritten           Point = "fold-written"           // it is written
	FoldCommitted         Point = "fold-committed"         // both are committed
)

// Points lists them.
func Points() []Point {
	return []Point{BeforeCommit, AfterCommit, BeforeAcknowledgement, FoldTaken, FoldRead, FoldWritten, FoldCommitted}
}

package rest

import (
	"io"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// ndjsonWriter writes each row as a JSON object with all its columns, on a line of its own.
type ndjsonWriter struct {
	w    io.Writer
	keys []string // as JSON, with what stands before and behind them
	line []byte
}

func newNDJSONWriter(w io.Writer, columns []Column) (rowWriter, error) {
	n := &ndjsonWriter{w: w}
	for i, col := range columns {
		n.keys = append(n.keys, string([]byte{"{,"[min(i, 1)]})+string(appendString(nil, col.Name))+":")
	}
	return n, nil
}

func (n *ndjsonWriter) Write(row []protoreflect.Value) error {
	n.line = n.line[:0]
	for i, value := range row {
		n.line = appendJSON(append(n.line, n.keys[i]...), value)
	}
	_, err := n.w.Write(append(n.line, "}\n"...))
	return err
}

func (n *ndjsonWriter) Close() error { return nil }

package rest

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// csvWriter writes rows by RFC 4180, after a byte order mark: without one, spreadsheets take the file for the code page of their
// machine. Text is always in quotation marks, numbers never. A list is one JSON array. An empty cell is nothing at all.
type csvWriter struct {
	w    io.Writer
	line []byte
}

const byteOrderMark = "\ufeff"

func newCSVWriter(w io.Writer, columns []Column) (rowWriter, error) {
	c := &csvWriter{w: w, line: []byte(byteOrderMark)}
	for i, col := range columns {
		if i > 0 {
			c.line = append(c.line, ',')
		}
		c.line = append(c.line, col.Name...)
	}
	return c, c.end()
}

func (c *csvWriter) Write(row []protoreflect.Value) error {
	for i, value := range row {
		if i > 0 {
			c.line = append(c.line, ',')
		}
		c.line = appendCell(c.line, value)
	}
	return c.end()
}

// end writes the line.
func (c *csvWriter) end() error {
	_, err := c.w.Write(append(c.line, "\r\n"...))
	c.line = c.line[:0]
	return err
}

func (c *csvWriter) Close() error { return nil }

func appendCell(b []byte, value protoreflect.Value) []byte {
	if !value.IsValid() {
		return b
	}
	switch v := value.Interface().(type) {
	case string:
		b = append(b, '"')
		b = append(b, strings.ReplaceAll(noFormula(v), `"`, `""`)...)
		return append(b, '"')
	case protoreflect.List:
		b = append(b, '"')
		b = append(b, strings.ReplaceAll(string(appendJSON(nil, value)), `"`, `""`)...)
		return append(b, '"')
	default:
		return appendJSON(b, value)
	}
}

// formulaStarts are the characters with which a cell begins that a spreadsheet takes for a formula, some of them in the width
// of East Asian scripts too, or that it cuts off so that another one comes first.
const formulaStarts = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"

// noFormula puts an apostrophe before text that a spreadsheet would take for a formula; it takes that for text.
func noFormula(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size > 0 && strings.ContainsRune(formulaStarts, first) {
		return "'" + text
	}
	return text
}

// appendJSON appends the value of a column as JSON; an empty cell is null.
func appendJSON(b []byte, value protoreflect.Value) []byte {
	switch v := value.Interface().(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int32, int64:
		return strconv.AppendInt(b, value.Int(), 10)
	case float64:
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	default:
		b = append(b, '[')
		for i := range value.List().Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, value.List().Get(i))
		}
		return append(b, ']')
	}
}

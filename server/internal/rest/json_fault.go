package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/template-insights/insights/server/internal/call"
)

// jsonFault is what is wrong with a JSON text. The field is empty where the fault is in none.
type jsonFault struct{ call.FieldError }

func (f *jsonFault) Error() string { return f.Field + ": " + f.Detail }

// jsonPosition is how the JSON reader says where it stopped; its blanks vary from program to program.
var jsonPosition = regexp.MustCompile(`^proto:\W(?:syntax error\W)?\(line (\d+):(\d+)\):\W(.*)$`)

// explainJSON says what is wrong with a text, and in which field.
func explainJSON(data []byte, err error) *jsonFault {
	found := jsonPosition.FindStringSubmatch(err.Error())
	if found == nil {
		return &jsonFault{call.FieldError{Detail: err.Error()}}
	}
	line, _ := strconv.Atoi(found[1]) // digits
	column, _ := strconv.Atoi(found[2])
	return &jsonFault{call.FieldError{Field: fieldAt(data, offsetOf(data, line, column)), Detail: call.Shorten(found[3])}}
}

// offsetOf finds a line and a column, in characters, both counted from 1.
func offsetOf(data []byte, line, column int) int {
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(data[at:], '\n') + 1
	}
	for range column - 1 {
		_, size := utf8.DecodeRune(data[at:])
		at += size
	}
	return at
}

// fieldAt names the field of a JSON text in which a byte stands, such as reports[3].session_counts.vscode.
func fieldAt(data []byte, offset int) string {
	type level struct {
		key   string
		index int  // of an array: elements so far; of an object: -1
		value bool // of an object: the value of the key comes next
	}
	var levels []level
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for int(d.InputOffset()) <= offset {
		token, err := d.Token()
		if err != nil {
			break
		}
		if closes := token == json.Delim('}') || token == json.Delim(']'); closes {
			if int(d.InputOffset()) > offset {
				break
			}
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 {
			switch in := &levels[n-1]; {
			case in.index >= 0:
				in.index++
			case in.value:
				in.value = false
			default:
				in.key, _ = token.(string) // keys of objects are text
				in.value = true
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{index: -1})
		case json.Delim('['):
			levels = append(levels, level{})
		}
	}
	var name strings.Builder
	for _, l := range levels {
		switch {
		case l.index > 0:
			fmt.Fprintf(&name, "[%d]", l.index-1)
		case l.key != "":
			if name.Len() > 0 {
				name.WriteByte('.')
			}
			name.WriteString(call.Shorten(l.key))
		}
	}
	return name.String()
}

package insights

import (
	"bufio"
	"bytes"
	"html"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	renderer "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
)

// plainText is what a reader of Markdown sees, without its marks: blocks on lines of their own, links and pictures as
// their texts, raw HTML left out.
func plainText(markdown string) string {
	source := []byte(markdown)
	var out strings.Builder
	document := goldmark.DefaultParser().Parse(text.NewReader(source))
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // fails only when the function does
		if !entering {
			if n.Type() == ast.TypeBlock {
				newLine(&out)
			}
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			out.WriteString(shown(n, source))
		case *ast.AutoLink:
			out.Write(n.Label(source))
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			out.Write(n.Lines().Value(source))
		}
		return ast.WalkContinue, nil
	})
	return strings.TrimSpace(out.String())
}

// shown is a piece of text without escapes and entities, and with the line break that may end it.
func shown(n *ast.Text, source []byte) string {
	value := n.Value(source)
	text := string(value)
	if _, code := n.Parent().(*ast.CodeSpan); !code {
		// By way of HTML, because what is an escape and what an entity is decided from left to right.
		var page bytes.Buffer
		w := bufio.NewWriter(&page)
		renderer.DefaultWriter.Write(w, value)
		_ = w.Flush() // a buffer takes everything
		text = html.UnescapeString(page.String())
	}
	switch {
	case n.HardLineBreak():
		text += "\n"
	case n.SoftLineBreak():
		text += " "
	}
	return text
}

// newLine ends a line unless it is ended.
func newLine(out *strings.Builder) {
	if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		out.WriteByte('\n')
	}
}

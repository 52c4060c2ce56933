package servertest

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// secretForms are what must never be written down: whole tokens, and JSON web tokens, which begin with {" in base64. Each form has its
// own expression, because one that begins with letters is found quickest.
var secretForms = []*regexp.Regexp{
	regexp.MustCompile(`tia_[a-z2-7]{10}_[a-z2-7]{52}`),
	regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}`),
}

// shortestEncoded is the length of the shortest token in base64.
const shortestEncoded = 88

// isBase64 reports whether a byte occurs in base64, of either alphabet.
func isBase64(b rune) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.ContainsRune("+/_-", b)
}

// FindSecret finds a secret in a text: the password of the database, or one of the forms above, in base64 too. It is empty if
// there is none.
func FindSecret(text []byte, password string) string {
	if password != "" && bytes.Contains(text, []byte(password)) {
		return password
	}
	if found := findForm(text); found != "" {
		return found
	}
	for run := range bytes.FieldsFuncSeq(text, func(b rune) bool { return !isBase64(b) }) {
		if len(run) < shortestEncoded {
			continue
		}
		for offset := range 4 { // where the encoding begins is not known
			if found := findForm(DecodePart(run[offset:])); found != "" {
				return found
			}
		}
	}
	return ""
}

// findForm finds a secret that is not encoded.
func findForm(text []byte) string {
	for _, form := range secretForms {
		if found := form.Find(text); found != nil {
			return string(found)
		}
	}
	return ""
}

// DecodePart decodes base64 of either alphabet as far as it goes.
func DecodePart(run []byte) []byte {
	decoded, _ := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(string(run)))
	return decoded
}

// watchedLog takes the log of a server at debug level, one line at a time: warnings go on to the test's output, and a line
// with a secret is told of.
type watchedLog struct {
	password string
	warnings io.Writer
	leaked   func(line, secret string)
}

// WatchLog returns the logger of a server in a test, which fails when a secret is logged. What is logged goes to the other
// writers as well.
func WatchLog(t testing.TB, database string, others ...io.Writer) *slog.Logger {
	watched := watchedLog{
		passwordOf(database), t.Output(), func(line, secret string) { t.Errorf("the log holds the secret %s: %s", secret, line) },
	}
	return slog.New(slog.NewTextHandler(io.MultiWriter(append(others, watched)...), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// passwordOf is the password in the name of a database.
func passwordOf(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// LogBuffer keeps what a server logs.
type LogBuffer struct {
	mu    sync.Mutex
	lines []string
}

// Write implements [io.Writer].
func (w watchedLog) Write(line []byte) (int, error) {
	if secret := FindSecret(line, w.password); secret != "" {
		w.leaked(string(line), secret)
	}
	if bytes.Contains(line, []byte(" level=WARN ")) || bytes.Contains(line, []byte(" level=ERROR ")) {
		return w.warnings.Write(line)
	}
	return len(line), nil
}

// Write implements [io.Writer].
func (b *LogBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, string(line))
	return len(line), nil
}

// All is what was logged so far.
func (b *LogBuffer) All() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines)
}

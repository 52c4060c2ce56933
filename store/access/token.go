package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"strings"
)

// A token is tia_<id>_<secret>: a prefix that secret scanners find, an id of 10 characters by which it is looked up and
// named, and a secret of 52 characters. Each character carries 5 bits, so the secret has 260.
const (
	tokenPrefix   = "tia_"
	tokenAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	tokenIDLen    = 10
	tokenSecretAt = len(tokenPrefix) + tokenIDLen + len("_")
	tokenLen      = tokenSecretAt + 52
)

// ErrMalformedToken says that a text is no token of this service. It never quotes the text.
var ErrMalformedToken = errors.New("malformed token")

// Token is a credential. However it is printed, logged or marshaled it shows its id alone; Reveal is the only way to the
// whole. What is stored is Hash. The zero value is no token and verifies against nothing.
type Token struct {
	text *string // a pointer, because fmt prints unexported fields of the structs around a Token without asking it
}

// NewToken returns a token made of fresh random bits.
func NewToken() Token {
	random := make([]byte, tokenLen)
	_, _ = rand.Read(random) // never fails: without randomness the program ends
	for i, b := range random {
		random[i] = tokenAlphabet[b%byte(len(tokenAlphabet))]
	}
	text := tokenPrefix + string(random[len(tokenPrefix):tokenSecretAt-1]) + "_" + string(random[tokenSecretAt:])
	return Token{text: &text}
}

// ParseToken returns the token that a caller showed, or ErrMalformedToken. It says nothing about whether the token was
// ever issued.
func ParseToken(text string) (Token, error) {
	if len(text) != tokenLen || !strings.HasPrefix(text, tokenPrefix) || text[tokenSecretAt-1] != '_' {
		return Token{}, ErrMalformedToken
	}
	for _, part := range []string{text[len(tokenPrefix) : tokenSecretAt-1], text[tokenSecretAt:]} {
		if strings.Trim(part, tokenAlphabet) != "" {
			return Token{}, ErrMalformedToken
		}
	}
	return Token{text: &text}, nil
}

// ID returns the public part of the token, 10 characters, or nothing for the zero value.
func (t Token) ID() string {
	if t.text == nil {
		return ""
	}
	return (*t.text)[len(tokenPrefix) : tokenSecretAt-1]
}

// Reveal returns the whole token, to be shown once to the one it is made for.
func (t Token) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Hash returns the SHA-256 of the whole token, 32 bytes: the form in which it is stored. A fast hash is right, because
// the secret cannot be guessed.
func (t Token) Hash() []byte {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return sum[:]
}

// Verify says whether the stored hash is this token's. It takes the same time whatever the hash holds; for an id that is
// not stored, verify against 32 zero bytes.
func (t Token) Verify(hash []byte) bool {
	return subtle.ConstantTimeCompare(t.Hash(), hash) == 1 && t.text != nil
}

// String returns the token without its secret.
func (t Token) String() string {
	return tokenPrefix + t.ID() + "_REDACTED"
}

// GoString returns the token without its secret.
func (t Token) GoString() string {
	return t.String()
}

// LogValue returns the token without its secret.
func (t Token) LogValue() slog.Value {
	return slog.StringValue(t.String())
}

// MarshalText returns the token without its secret; JSON and the log handlers use it too.
func (t Token) MarshalText() ([]byte, error) {
	return []byte(t.String()), nil
}

package access_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/template-insights/insights/store/access"
)

var tokenForm = regexp.MustCompile(`^tia_([a-z2-7]{10})_([a-z2-7]{52})$`)

func TestNewToken(t *testing.T) {
	t.Parallel()
	ids, secrets := map[string]bool{}, map[string]bool{}
	used := map[rune]bool{}
	for range 1000 {
		token := access.NewToken()
		parts := tokenForm.FindStringSubmatch(token.Reveal())
		if parts == nil {
			t.Fatalf("form of %q", token.Reveal())
		}
		if token.ID() != parts[1] {
			t.Fatalf("id %q of %q", token.ID(), token.Reveal())
		}
		ids[parts[1]], secrets[parts[2]] = true, true
		for _, r := range parts[2] {
			used[r] = true
		}
	}
	if len(ids) != 1000 || len(secrets) != 1000 || len(used) != 32 {
		t.Errorf("1000 tokens have %d ids and %d secrets of %d characters", len(ids), len(secrets), len(used))
	}
}

func TestTokenVerify(t *testing.T) {
	t.Parallel()
	token := access.NewToken()
	stored := token.Hash()
	if want := sha256.Sum256([]byte(token.Reveal())); !bytes.Equal(stored, want[:]) {
		t.Fatalf("hash %x, want %x", stored, want)
	}
	shown, err := access.ParseToken(token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if !shown.Verify(stored) || shown.ID() != token.ID() || shown.Reveal() != token.Reveal() {
		t.Error("a token that is shown again is another one")
	}
	for i := range stored {
		wrong := bytes.Clone(stored)
		wrong[i] ^= 1
		if shown.Verify(wrong) {
			t.Errorf("verified although byte %d differs", i)
		}
	}
	empty := sha256.Sum256(nil)
	for name, ok := range map[string]bool{
		"no hash":              shown.Verify(nil),
		"zero hash":            shown.Verify(make([]byte, 32)),
		"shorter hash":         shown.Verify(stored[:31]),
		"longer hash":          shown.Verify(append(bytes.Clone(stored), 0)),
		"another token":        access.NewToken().Verify(stored),
		"zero token":           access.Token{}.Verify(stored),
		"zero token, its hash": access.Token{}.Verify(empty[:]),
	} {
		if ok {
			t.Errorf("verified: %s", name)
		}
	}
}

func TestTokenRedacted(t *testing.T) {
	t.Parallel()
	token := access.NewToken()
	secret := token.Reveal()[len("tia_0123456789_"):]
	type around struct {
		Exported   access.Token
		unexported access.Token
	}
	out := map[string]string{"String": token.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%p", "%z"} {
		out[verb] = fmt.Sprintf(verb, token)
		out[verb+" pointer"] = fmt.Sprintf(verb, &token)
		out[verb+" around"] = fmt.Sprintf(verb, around{token, token})
	}
	for name, v := range map[string]any{"JSON": token, "JSON around": around{token, token}, "JSON map": map[string]any{"token": &token}} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(raw)
	}
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&logged, nil), slog.NewTextHandler(&logged, nil)} {
		slog.New(handler).Info("token", "token", token, "pointer", &token, "around", around{token, token}, "text", fmt.Sprint(token))
	}
	out["log"] = logged.String()
	for name, text := range out {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	want := "tia_" + token.ID() + "_REDACTED"
	for _, name := range []string{"String", "%v", "%#v", "%s", "%v pointer", "JSON", "log"} {
		if !strings.Contains(out[name], want) {
			t.Errorf("%s: %s does not name the token %s", name, out[name], want)
		}
	}
}

func TestParseTokenRefuses(t *testing.T) {
	t.Parallel()
	const id, secret = "abcdefghij", "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"
	if _, err := access.ParseToken("tia_" + id + "_" + secret); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	for name, text := range map[string]string{
		"empty":                  "",
		"prefix alone":           "tia_",
		"other prefix":           "tib_" + id + "_" + secret,
		"upper-case prefix":      "TIA_" + id + "_" + secret,
		"other separator":        "tia_" + id + "-" + secret,
		"separator in id":        "tia_abcdefghi_" + "_" + secret,
		"separator in secret":    "tia_" + id + "_" + secret[:30] + "_" + secret[31:],
		"upper case":             "tia_" + id + "_" + strings.ToUpper(secret),
		"digit outside":          "tia_" + id + "_" + secret[:51] + "1",
		"short":                  "tia_" + id + "_" + secret[:51],
		"long":                   "tia_" + id + "_" + secret + "a",
		"blank before":           " tia_" + id + "_" + secret,
		"blank inside":           "tia_" + id + "_" + secret[:30] + " " + secret[31:],
		"newline at the end":     "tia_" + id + "_" + secret[:51] + "\n",
		"NUL":                    "tia_" + id + "_" + secret[:51] + "\x00",
		"same length, not ASCII": "tia_" + id + "_" + secret[:50] + "é",
		"bad UTF-8":              "tia_" + id + "_" + secret[:51] + "\xff",
		"huge":                   "tia_" + strings.Repeat("a", 1<<20),
		"redacted":               access.NewToken().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := access.ParseToken(text)
			if !errors.Is(err, access.ErrMalformedToken) || token.Reveal() != "" || token.ID() != "" {
				t.Errorf("ParseToken(%.80q) = %v, %v", text, token, err)
			}
		})
	}
}

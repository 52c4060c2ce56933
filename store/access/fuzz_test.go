package access_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/template-insights/insights/store/access"
)

// A text is a token if it has the form of one, and however it is printed it keeps its secret.
func FuzzParseToken(f *testing.F) {
	token := access.NewToken().Reveal()
	for _, text := range []string{
		"", "tia_abcdefghij_REDACTED", "Bearer tia_abcdefghij_", token, token + "a", token[1:], strings.ToUpper(token),
		strings.Replace(token, "_", "-", 1), token[:66] + "\n", strings.Repeat("tia_", 17),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := access.ParseToken(text)
		if (err == nil) != tokenForm.MatchString(text) || err != nil && !errors.Is(err, access.ErrMalformedToken) {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			if token.Reveal() != "" || token.Verify(token.Hash()) || len(text) > 10 && strings.Contains(err.Error(), text) {
				t.Errorf("%q is no token and yet %v, %v", text, token, err)
			}
			return
		}
		if token.Reveal() != text || token.ID() != text[4:14] || !token.Verify(token.Hash()) {
			t.Errorf("%q became %q with id %q", text, token.Reveal(), token.ID())
		}
		marshaled, err := token.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		secret := text[15:]
		for _, shown := range []string{
			fmt.Sprint(token), fmt.Sprintf("%+v %#v %q %x", token, token, token, &token), token.LogValue().String(), string(marshaled),
		} {
			if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
				t.Errorf("%q shows the secret", shown)
			}
		}
		other := bytes.Clone(token.Hash())
		other[int(text[20])%len(other)] ^= 1
		if token.Verify(other) || token.Verify(other[:31]) || token.Verify(nil) {
			t.Error("it verifies against another hash")
		}
	})
}

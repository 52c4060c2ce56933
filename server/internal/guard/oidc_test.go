package guard

import (
	"testing"
)

func TestIssuerNeedsAllItsParts(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]OIDC{
		"no audience": {Issuer: "https://issuer.example"}, "no issuer": {Audience: "insights"},
		"plain text": {Issuer: "http://issuer.example", Audience: "insights"},
		"no URL":     {Issuer: "issuer", Audience: "insights"}, "a file": {Issuer: "file:///keys", Audience: "insights"},
	} {
		if err := o.validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, issuer := range []string{"https://issuer.example/realms/x", "http://127.0.0.1:8080", "http://[::1]:8080"} {
		if err := (OIDC{Issuer: issuer, Audience: "insights"}).validate(); err != nil {
			t.Error(err)
		}
	}
}

package rest

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct{ remote, forwarded, want string }{
		"direct":               {"198.51.100.1:5", "", "198.51.100.1"},
		"direct, with a claim": {"198.51.100.1:5", "203.0.113.9", "198.51.100.1"},
		"behind a proxy":       {"10.0.0.1:5", "203.0.113.9", "203.0.113.9"},
		"behind two proxies":   {"10.0.0.1:5", "203.0.113.9, 10.2.2.2", "203.0.113.9"},
		"a claim before them":  {"10.0.0.1:5", "192.0.2.1, 203.0.113.9, 10.2.2.2", "203.0.113.9"},
		"nonsense":             {"10.0.0.1:5", "unknown", "10.0.0.1"},
		"an address in a zone": {"10.0.0.1:5", "fe80::1%\u00e4", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			if got := clientAddress(r, trusted); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAvatarHosts(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{
		"avatars.example.com": true, "127.0.0.1:8080": true, "localhost": true,
		"": false, "*": false, "*.example.com": false, "https://example.com": false, "example.com/": false, "Example.com": false,
		"a b": false, "a;script-src *": false, `a"b`: false, "example.com:": false, "'self'": false, ".com": false,
	} {
		if err := (Options{AvatarHosts: []string{host}}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestExternalURL(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"": true, "https://insights.example.com": true, "http://127.0.0.1:8080": true,
		"insights.example.com": false, "https://insights.example.com/": false, "https://u:p@insights.example.com": false,
		"javascript:alert(1)": false, "https://": false, "https://a?b": false, "https://a#b": false,
	} {
		if err := (Options{ExternalURL: url}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
}

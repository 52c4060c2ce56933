package guard

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
)

// What is ambiguous about a key limits it.
func TestIsWholeKey(t *testing.T) {
	t.Parallel()
	user := uuid.New()
	for fields, whole := range map[string]bool{
		`"scope": "all"`: true,
		`"scope": "all", "scopes": ["all"], "allow_list": ["*:*"]`: true,
		`"scopes": ["coder:all"], "allow_list": ["*:*"]`:           true,
		`"scope": ""`: false,
		`"scopes": ["user:read"], "SCOPES": ["coder:all"]`: false,
		`"scopes": ["user:read"], "scopes": ["coder:all"]`: false,
		`"SCOPE": "all"`: false,
		`"scope": "application_connect", "Scope": "all"`:                               false,
		`"scope": "all", "scopes": ["user:read"], "scopes": null`:                      false,
		`"scope": "all", "scopes": null`:                                               false,
		`"scopes": ["coder:all"], "allow_list": ["template:x"], "Allow_List": ["*:*"]`: false,
		`"scopes": ["coder:all"], "allow_list": ["*:*", null]`:                         false,
		`"scopes": ["coder:all"], "allow_list": "*:*"`:                                 false,
		`"scopes": {"coder:all": true}`:                                                false,
		`"scope": "all"} {"scope": "all"`:                                              false,
	} {
		body := fmt.Sprintf(`{"id": "abcdefghij", "user_id": %q, %s}`, user, fields)
		if got := isWholeKey([]byte(body), "abcdefghij", user); got != whole {
			t.Errorf("%s: %t", body, got)
		}
	}
	for _, body := range []string{"", "null", "[]", `{"id": "abcdefghij"`, `{"id": "abcdefghij", "scope": "all"}`} {
		if isWholeKey([]byte(body), "abcdefghij", user) {
			t.Errorf("%q is a key without limits", body)
		}
	}
}

func TestCheckCoderURL(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"": true, "https://coder.example.com": true, "https://example.com/coder/": true, "http://127.0.0.1:3000": true,
		"http://coder.example.com": false, "coder.example.com": false, "https://u:p@coder.example.com": false,
		"https://coder.example.com?a=b": false, "ftp://coder.example.com": false, "https:// ": false,
	} {
		if err := checkCoderURL(url); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
}

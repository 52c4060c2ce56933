package insights

import (
	"testing"
)

func TestPlainText(t *testing.T) {
	t.Parallel()
	for markdown, want := range map[string]string{
		"":                                "",
		"This is first parameter":         "This is first parameter",
		"**Bold**, _slanted_ and `a_b`.":  "Bold, slanted and a_b.",
		"# Size\n\nOf the *disk*\nin GiB": "Size\nOf the disk in GiB",
		"See [the guide](https://example.com) or <https://example.org>": "See the guide or https://example.org",
		"![a cube](/cube.svg) cube":                                     "a cube cube",
		"- one\n- two\n  - three":                                       "one\ntwo\nthree",
		"```sh\nmake *all*\n```\nthen":                                  "make *all*\nthen",
		"hard  \nbreak":                                                 "hard\nbreak",
		"5 &lt; 6 &amp; \\*not slanted\\*":                              "5 < 6 & *not slanted*",
		"/?a=1&copy=2 \\&amp;":                                          "/?a=1&copy=2 &amp;",
		"<b>bold</b> <script>alert(1)</script>":                         "bold alert(1)",
		"<script>alert(1)</script>":                                     "",
		"a < b":                                                         "a < b",
	} {
		if got := plainText(markdown); got != want {
			t.Errorf("%q: got %q, want %q", markdown, got, want)
		}
	}
}

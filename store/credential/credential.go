// Package credential recognizes texts that hold a credential: a token of a known form, a private key, or a URL with a user and a
// password. It knows nothing of where a text comes from, and does no I/O. The forms are a table of its own, because the libraries that
// have one bring scanners of whole repositories, or take digests for secrets.
package credential

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// In reports whether a text holds a credential. What a credential could be by its randomness alone, such as a digest, is none: only
// known forms count. A password that is a reference, such as ${PASSWORD}, is none either.
func In(text string) bool {
	for _, f := range forms {
		if f.isIn(text) {
			return true
		}
	}
	return hasCoderKey(text) || isAWSSecret(text) || isAzureDevOpsToken(text)
}

// isIn reports whether a text holds a credential of the form.
func (f form) isIn(text string) bool {
	for _, mark := range f.marks {
		if !strings.Contains(text, mark) {
			continue
		}
		for _, found := range f.pattern.FindAllStringSubmatch(text, -1) {
			if f.pattern.NumSubexp() == 0 || !reference.MatchString(found[1]) {
				return true
			}
		}
		return false
	}
	return false
}

// reference matches what stands where a password would and is none: a variable, a placeholder, asterisks, a switch.
var reference = regexp.MustCompile(`^(true|false|\$\w+|\$?\{.*\}|\$\(.*\)|<.*>|%\w+%|\[.*\]|\*+|x+|X+|\.+|)$`)

// coderKey is the form of session keys of Coder: an id and a secret.
var coderKey = regexp.MustCompile(`(?:^|[\s=:"'])[0-9A-Za-z]{10}-([0-9A-Za-z]{22})(?:[\s"',;]|$)`)

// hasCoderKey reports whether a text holds a session key of Coder. Its secret is random, unlike the words of a branch.
func hasCoderKey(text string) bool {
	return strings.Contains(text, "-") && slices.ContainsFunc(coderKey.FindAllStringSubmatch(text, -1), func(found []string) bool {
		return isMixed(found[1])
	})
}

// awsSecret is the form of secret access keys of AWS.
var awsSecret = regexp.MustCompile(`^[0-9A-Za-z/+]{40}$`)

// isAWSSecret reports whether a text is a secret access key of AWS. It looks like names and digests of 40 characters, but these are less
// mixed, and like base64, but of bytes that are no text.
func isAWSSecret(text string) bool {
	text = strings.TrimSpace(text)
	if !awsSecret.MatchString(text) || !isMixed(text) {
		return false
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	return err != nil || bytes.ContainsFunc(decoded, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) })
}

// isMixed reports whether a text has capitals, small letters and digits, and changes between them in every third place at least.
func isMixed(text string) bool {
	var capitals, small, digits bool
	changes, last := 0, 0
	for _, r := range text {
		kind := last
		switch {
		case unicode.IsUpper(r):
			capitals, kind = true, 1
		case unicode.IsLower(r):
			small, kind = true, 2
		case unicode.IsDigit(r):
			digits, kind = true, 3
		}
		if kind != last {
			changes++
		}
		last = kind
	}
	return capitals && small && digits && 3*changes >= len(text)
}

// azureDevOpsToken is the form of the older personal access tokens of Azure DevOps.
var azureDevOpsToken = regexp.MustCompile(`^[a-z2-7]{52}$`)

// isAzureDevOpsToken reports whether a text is a personal access token of Azure DevOps. A word of that length has no digits.
func isAzureDevOpsToken(text string) bool {
	text = strings.TrimSpace(text)
	return azureDevOpsToken.MatchString(text) && strings.ContainsAny(text, "234567")
}

package store

import (
	"context"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// erasedWord stands in the audit trail where there was a name or an id.
const erasedWord = "erased"

// withoutErased is a text without the ids of users who were erased, and of what was theirs. Without the privacy key nobody can tell.
func (s *Store) withoutErased(ctx context.Context, text string) (string, error) {
	ids := idsIn(text)
	if s.key == nil || len(ids) == 0 {
		return text, nil
	}
	erased, err := s.Erased(ctx, ids)
	if err != nil {
		return "", err
	}
	return replaceIDs(text, func(id uuid.UUID) (string, bool) { return erasedWord, erased[id] }), nil
}

// hideIDs is a text with the ids of users replaced by those under which they are kept, and all ids in lower case.
func (s *Store) hideIDs(ctx context.Context, text string) (string, error) {
	kept, err := s.keptAs(s.lookups.WithContext(ctx), idsIn(text))
	return replaceIDs(text, func(id uuid.UUID) (string, bool) {
		return idIn(kept, id).String(), true
	}), err
}

var idPattern = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// idsIn are the ids that a text names, in lower or upper case.
func idsIn(text string) []uuid.UUID {
	var ids []uuid.UUID
	for _, id := range idPattern.FindAllString(text, -1) {
		ids = append(ids, uuid.MustParse(id))
	}
	return ids
}

// replaceIDs replaces those ids in a text that by has something for.
func replaceIDs(text string, by func(uuid.UUID) (string, bool)) string {
	return idPattern.ReplaceAllStringFunc(text, func(id string) string {
		if other, replaced := by(uuid.MustParse(id)); replaced {
			return other
		}
		return id
	})
}

// likeEscaper makes a text a pattern that only itself matches, where ! escapes.
var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// inJSON is a text as it stands within the texts of JSON.
func inJSON(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}

// replaceWord replaces a word, in lower or upper case, where no other letters or digits touch it.
func replaceWord(text, word, by string) string {
	if word == "" {
		return text
	}
	part := func(r rune, size int) bool { return size > 0 && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	var out strings.Builder
	end := 0
	for _, at := range regexp.MustCompile("(?i)"+regexp.QuoteMeta(word)).FindAllStringIndex(text, -1) {
		if part(utf8.DecodeLastRuneInString(text[:at[0]])) || part(utf8.DecodeRuneInString(text[at[1]:])) {
			continue
		}
		out.WriteString(text[end:at[0]] + by)
		end = at[1]
	}
	return out.String() + text[end:]
}

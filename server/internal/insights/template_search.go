package insights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

// maxSearch is the number of bytes of a search.
const maxSearch = 1 << 10

// templateSearch finds templates as a search of Coder does: all that it names must hold.
type templateSearch []func(t store.Template, of store.Organization) bool

// finds reports whether a template of an organization is looked for.
func (s templateSearch) finds(t store.Template, of store.Organization) bool {
	return !slices.ContainsFunc(s, func(holds func(store.Template, store.Organization) bool) bool { return !holds(t, of) })
}

// freeWords is the key of words that stand alone.
const freeWords = "display_name"

// parseTemplateSearch reads a search. organizations are those that it may name.
func parseTemplateSearch(q string, organizations []store.Organization) (templateSearch, error) {
	if len(q) > maxSearch {
		return nil, call.InvalidParam("q", "has %d bytes, at most %d", len(q), maxSearch)
	}
	terms, err := searchTerms(q)
	if err != nil {
		return nil, err
	}
	if _, asked := terms["deleted"]; !asked {
		terms["deleted"] = []string{"false"}
	}
	var s templateSearch
	var faults []call.FieldError
	for _, key := range slices.Sorted(maps.Keys(terms)) {
		read, known := searchKeys[key]
		switch {
		case !known:
			key = call.Shorten(key)
			faults = append(faults, call.FieldError{Field: key, Detail: call.Param(key) + "is not a valid query param"})
			continue
		case len(terms[key]) > 1:
			faults = append(faults, call.FieldError{Field: key, Detail: call.Param(key) + "must be given once"})
			continue
		}
		holds, err := read(terms[key][0], organizations)
		if err != nil {
			faults = append(faults, call.FieldError{Field: key, Detail: call.Param(key) + err.Error()})
			continue
		}
		s = append(s, holds)
	}
	if len(faults) > 0 {
		return nil, call.Invalid("Invalid template search query.", faults...)
	}
	return s, nil
}

// searchTerms takes a search apart: values by key, words that stand alone together under the key of free words.
func searchTerms(q string) (map[string][]string, error) {
	terms, words := map[string][]string{}, []string(nil)
	for _, element := range splitQuoted(q, ' ') {
		parts := splitQuoted(element, ':')
		switch {
		case len(parts) > 2:
			return nil, call.InvalidParam("q", "has %q, which can only contain one ':'", call.Shorten(element))
		case strings.HasPrefix(element, ":") || strings.HasSuffix(element, ":"):
			return nil, call.InvalidParam("q", "has %q, which cannot start or end with ':'", call.Shorten(element))
		case len(parts) == 2:
			key := strings.ToLower(unquoted(parts[0]))
			terms[key] = append(terms[key], unquoted(parts[1]))
		default:
			words = append(words, unquoted(element))
		}
	}
	if len(words) > 0 {
		terms[freeWords] = append(terms[freeWords], strings.Join(words, " "))
	}
	return terms, nil
}

// splitQuoted splits a text at a separator outside of double quotes. Parts are not empty.
func splitQuoted(text string, at rune) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == at && !quoted
	})
}

func unquoted(text string) string { return strings.Trim(text, `"`) }

// searchKey makes of a value what must hold. Its error says what is wrong with the value.
type searchKey func(value string, organizations []store.Organization) (func(store.Template, store.Organization) bool, error)

// searchKeys are what may be searched for. What the catalog does not hold has the value that answers show.
var searchKeys = map[string]searchKey{
	"name":               textKey(func(t store.Template) string { return t.Name }, strings.Contains),
	"exact_name":         textKey(func(t store.Template) string { return t.Name }, isAlike),
	freeWords:            textKey(shownName, strings.Contains),
	"exact_display_name": textKey(func(t store.Template) string { return t.DisplayName }, isAlike),
	"author":             textKey(func(store.Template) string { return "" }, isAlike),
	"deleted":            flagKey(func(t store.Template) bool { return !t.DeletedAt.IsZero() }),
	"deprecated":         flagKey(func(store.Template) bool { return false }),
	"has-ai-task":        flagKey(func(store.Template) bool { return false }),
	"has_external_agent": flagKey(func(store.Template) bool { return false }),
	"ids":                idsKey(func(t store.Template) uuid.UUID { return t.ID }),
	"author_id":          idsKey(func(store.Template) uuid.UUID { return uuid.Nil }),
	"organization": func(value string, organizations []store.Organization) (func(store.Template, store.Organization) bool, error) {
		_, parsed := uuid.Parse(value)
		known := slices.ContainsFunc(organizations, func(o store.Organization) bool { return isOrganization(o, value) })
		if parsed != nil && !known {
			return nil, errors.New("must be an organization that exists and that you may see")
		}
		return func(_ store.Template, of store.Organization) bool { return isOrganization(of, value) }, nil
	},
}

// isOrganization reports whether a text is the id or the name of an organization. What may be an id is no name: another organization could
// take it.
func isOrganization(o store.Organization, text string) bool {
	if id, err := uuid.Parse(text); err == nil {
		return id == o.ID
	}
	return label.Fold(o.Name) == label.Fold(text)
}

// isAlike reports whether folded names are the same. No value is like all names.
func isAlike(name, value string) bool { return value == "" || name == value }

// textKey is a key whose value is any text. It is folded once, and holds gets both folded.
func textKey(of func(store.Template) string, holds func(name, value string) bool) searchKey {
	return func(value string, _ []store.Organization) (func(store.Template, store.Organization) bool, error) {
		value = label.Fold(value)
		return func(t store.Template, _ store.Organization) bool { return holds(label.Fold(of(t)), value) }, nil
	}
}

// flagKey is a key whose value is true or false.
func flagKey(of func(store.Template) bool) searchKey {
	return func(value string, _ []store.Organization) (func(store.Template, store.Organization) bool, error) {
		want, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("must be a valid boolean, not %q", call.Shorten(value))
		}
		return func(t store.Template, _ store.Organization) bool { return of(t) == want }, nil
	}
}

// idsKey is a key whose value is ids, one of which must be that of the template.
func idsKey(of func(store.Template) uuid.UUID) searchKey {
	return func(value string, _ []store.Organization) (func(store.Template, store.Organization) bool, error) {
		var ids []uuid.UUID
		for text := range strings.SplitSeq(value, ",") {
			id, err := uuid.Parse(strings.TrimSpace(text))
			if err != nil {
				return nil, fmt.Errorf("must be UUIDs, not %q", call.Shorten(text))
			}
			ids = append(ids, id)
		}
		return func(t store.Template, _ store.Organization) bool { return slices.Contains(ids, of(t)) }, nil
	}
}

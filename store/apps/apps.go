// Package apps knows what people work with, by name: the family that an app belongs to, what people call it, and whether it is
// an IDE. Every question, every metric and the older activity API look apps up in one [List] while they answer, so what the list
// learns holds for the past as well. A list is built in ([BuiltIn]) and may be extended.
//
// The package is pure: it does no I/O.
package apps

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Families of session apps that are built in.
const (
	VSCode          = "vscode"
	JetBrains       = "jetbrains"
	ReconnectingPTY = "reconnecting_pty"
	SSH             = "ssh"
	SFTP            = "sftp"
	AI              = "ai"      // tools that work on their own
	Unknown         = "unknown" // of apps that belong to no family
)

// Workspace is what answers call instead of a family what is no session app.
const Workspace = "workspace_app"

// Family is a group of session apps. Answers show each family as one entry.
type Family struct {
	Name        string
	DisplayName string
	Icon        string // path of a picture; empty: none
	IDE         bool   // people program in its apps, but for those that are known otherwise
	Always      bool   // answers have its entry where nobody used it as well
	Together    int    // how many people it is told of at least, and never of one alone; 0: it is told of each
}

// Slug is what the entry of the family is called in answers.
func (f Family) Slug() string { return strings.ReplaceAll(f.Name, "_", "-") }

// App is what is known of an app.
type App struct {
	Family      string // the name of one in the list, or Unknown
	DisplayName string // what people call it
	Icon        string // path of a picture; empty: none
	IDE         bool   // people program in it
}

// FamilyDefinition says something of a family, which may be a new one. What is empty stays as it was.
type FamilyDefinition struct {
	Name        string
	DisplayName string // of a new family: its name
	Icon        string
	IDE         *bool // of a new family: false
	Together    int   // as [Family.Together]
}

// AppDefinition says something of an app, which may be a new one. What is empty stays as it was.
type AppDefinition struct {
	Name        string // in the form in which session names are stored
	Family      string // of a new app: Unknown
	DisplayName string // of a new app: its name
	Icon        string
	IDE         *bool // of a new app: as its family has it
}

// List is what is known of apps and their families. It does not change, so that an answer that looks everything up in the same list is
// of one piece.
type List struct {
	families []Family                 // in the order of the entries of answers
	entries  map[string]int           // the places in families, by name
	apps     map[string]AppDefinition // by name, as keyOf writes it
}

// BuiltIn is the list that is not extended. It tells every family of each person.
func BuiltIn() *List { return builtIn }

// Extend returns the list with what definitions say besides. The families of apps must be among those of the list or of the
// definitions.
func (l *List) Extend(families []FamilyDefinition, apps []AppDefinition) *List {
	to := &List{slices.Clone(l.families), maps.Clone(l.entries), maps.Clone(l.apps)}
	for _, d := range families {
		at, known := to.entries[d.Name]
		if !known {
			at = len(to.families)
			to.families = append(to.families, Family{Name: d.Name, DisplayName: d.Name})
			to.entries[d.Name] = at
		}
		f := &to.families[at]
		f.DisplayName, f.Icon, f.Together = cmp.Or(d.DisplayName, f.DisplayName), cmp.Or(d.Icon, f.Icon), cmp.Or(d.Together, f.Together)
		if d.IDE != nil {
			f.IDE = *d.IDE
		}
	}
	for _, d := range apps {
		known, _ := to.find(d.Name)
		to.apps[keyOf(d.Name)] = AppDefinition{
			Name: d.Name, Family: cmp.Or(d.Family, known.Family), DisplayName: cmp.Or(d.DisplayName, known.DisplayName),
			Icon: cmp.Or(d.Icon, known.Icon), IDE: cmp.Or(d.IDE, known.IDE),
		}
	}
	return to
}

// byMaker begins names of session apps of JetBrains, also of those that the list does not hold.
const byMaker = JetBrains + "_"

// keyOf is how the list writes a name: some write blanks where others have _.
func keyOf(name string) string { return strings.ReplaceAll(name, " ", "_") }

// find returns what is said of an app, and whether the list holds it. A session app of JetBrains may also have jetbrains_ before its
// name.
func (l *List) find(name string) (d AppDefinition, listed bool) {
	key := keyOf(name)
	if d, listed = l.apps[key]; listed {
		return d, true
	}
	product, ofMaker := strings.CutPrefix(key, byMaker)
	if !ofMaker {
		return AppDefinition{Name: name, Family: Unknown, DisplayName: name}, false
	}
	if d, listed = l.apps[product]; listed && d.Family == JetBrains && !strings.HasPrefix(product, JetBrains) {
		return d, true
	}
	return AppDefinition{Name: name, Family: JetBrains, DisplayName: name, Icon: l.apps[JetBrains].Icon}, false
}

// Of returns what is known of an app by its name in the form in which session names are stored. An app that nobody knows is Unknown
// and called by its name.
func (l *List) Of(name string) App {
	d, _ := l.find(name)
	app := App{Family: d.Family, DisplayName: d.DisplayName, Icon: d.Icon}
	if d.IDE != nil {
		app.IDE = *d.IDE
	} else if f, known := l.Family(d.Family); known {
		app.IDE = f.IDE
	}
	return app
}

// Listed reports whether the list holds a name: there are few of those, while agents may send any other.
func (l *List) Listed(name string) bool {
	_, listed := l.find(name)
	return listed
}

// Families are the entries of answers, in order. Unknown has no entry. The result must not be changed.
func (l *List) Families() []Family { return l.families }

// Family returns a family by its name. Unknown is none.
func (l *List) Family(name string) (f Family, known bool) {
	at, known := l.entries[name]
	if !known {
		return Family{}, false
	}
	return l.families[at], true
}

// Entry returns the place in Families of the family that an app belongs to; of an app of no family the number of families.
func (l *List) Entry(name string) int {
	d, _ := l.find(name)
	if at, known := l.entries[d.Family]; known {
		return at
	}
	return len(l.families)
}

// Together is how many people the use of an app is told of at least, and never of one alone; 0: it is told of each.
func (l *List) Together(name string) int {
	d, _ := l.find(name)
	f, _ := l.Family(d.Family)
	return f.Together
}

// Names are those of the apps that the list holds, ascending.
func (l *List) Names() []string { return slices.Sorted(maps.Keys(l.apps)) }

// maxName is the length of a name in code points.
const maxName = 64

// IsName reports whether a text is a name as the list has it, of a family or an app: one that an agent's session may be stored under,
// without blanks.
func IsName(text string) bool {
	return text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxName && text == strings.ToLower(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return r == '-' || !unicode.IsGraphic(r) || unicode.IsSpace(r) })
}

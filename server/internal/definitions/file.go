package definitions

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store/apps"
)

// Limits of a file.
const (
	maxFile     = 1 << 20 // bytes
	maxFamilies = 500     // of metrics
	maxLabels   = 32
	maxHelp     = 500 // bytes
	maxApps     = 1000
	maxGroups   = 100 // families of apps
)

// content is what a file says.
type content struct {
	families    []*exposition.Family
	lines       []int // of the families
	appFamilies defined[apps.FamilyDefinition]
	apps        defined[apps.AppDefinition]
}

// defined are the members of a list, and their lines by name.
type defined[T any] struct {
	all   []T
	lines map[string]int
}

// add adds a member, unless the list has its name.
func (d *defined[T]) add(member T, name string, line int, key string) error {
	if _, twice := d.lines[name]; twice {
		return fault{line, key + ".name", name + " is there twice"}
	}
	if d.lines == nil {
		d.lines = map[string]int{}
	}
	d.all, d.lines[name] = append(d.all, member), line
	return nil
}

// fault is what is wrong with a part of a file.
type fault struct {
	line    int
	key     string // empty: the file as a whole
	problem string
}

func (f fault) Error() string {
	if f.key == "" {
		return fmt.Sprintf("line %d: %s", f.line, f.problem)
	}
	return fmt.Sprintf("line %d: %s: %s", f.line, f.key, f.problem)
}

// parse reads a file. An error names the line and the key.
func parse(text []byte) (content, error) {
	var c content
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return c, nil // it is empty
	case err != nil:
		return c, err // names the line
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return c, fault{document.Line, "", "must be one document"}
	}
	root := document.Content[0]
	if root.Tag == "!!null" {
		return c, nil
	}
	return c, eachKey(root, "", map[string]func(*yaml.Node, string) error{
		"metric_families": eachMember("families", maxFamilies, func(n *yaml.Node, at string) error {
			f, err := parseFamily(n, at)
			c.families, c.lines = append(c.families, f), append(c.lines, n.Line)
			return err
		}),
		"app_families": eachMember("families", maxGroups, func(n *yaml.Node, at string) error {
			f, err := parseAppFamily(n, at)
			if err != nil {
				return err
			}
			return c.appFamilies.add(f, f.Name, n.Line, at)
		}),
		"apps": eachMember("apps", maxApps, func(n *yaml.Node, at string) error {
			a, err := parseApp(n, at)
			if err != nil {
				return err
			}
			return c.apps.add(a, a.Name, n.Line, at)
		}),
	})
}

// eachMember hands the members of a list to a function, with what they are called.
func eachMember(what string, most int, read func(n *yaml.Node, at string) error) func(*yaml.Node, string) error {
	return func(n *yaml.Node, key string) error {
		if n.Kind != yaml.SequenceNode {
			return fault{n.Line, key, "must be a list"}
		}
		if len(n.Content) > most {
			return fault{n.Line, key, fmt.Sprintf("%d %s, at most %d", len(n.Content), what, most)}
		}
		for i, member := range n.Content {
			if err := read(member, fmt.Sprintf("%s[%d]", key, i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// extend returns a list of apps with what the file says besides. The family of an app may come after it in the file.
func (c content) extend(known *apps.List) (*apps.List, error) {
	extended := known.Extend(c.appFamilies.all, c.apps.all)
	for i, a := range c.apps.all {
		if _, is := extended.Family(a.Family); !is && a.Family != "" && a.Family != apps.Unknown {
			return nil, fault{c.apps.lines[a.Name], fmt.Sprintf("apps[%d].family", i), a.Family + " is no family of apps"}
		}
	}
	return extended, nil
}

// check holds the names of the families against each other, against those of this service, and against the built-in ones, of
// which a family may replace the one of its name.
func (c content) check(own []*exposition.Family) error {
	replaced := map[string]bool{}
	for _, f := range c.families {
		replaced[f.Name] = true
	}
	takenBy, builtIn := map[string]string{}, map[string]bool{}
	take := func(f *exposition.Family) error {
		for _, name := range exposition.Claims(f.Name, f.Kind) {
			if other, is := takenBy[name]; is {
				return fmt.Errorf("%s takes the name %s, which is that of %s", f.Name, name, other)
			}
			takenBy[name] = f.Name
		}
		return nil
	}
	for _, f := range exposition.ControlPlaneFamilies {
		if builtIn[f.Name] = true; !replaced[f.Name] {
			_ = take(f) // they do not clash with each other
		}
	}
	for _, f := range own {
		_ = take(f)
	}
	for i, f := range c.families {
		err := take(f)
		if !builtIn[f.Name] && exposition.Reserved(f.Name) {
			err = fmt.Errorf("families with names like %s are told by this service", f.Name)
		}
		if err != nil {
			return fault{c.lines[i], fmt.Sprintf("metric_families[%d].name", i), err.Error()}
		}
	}
	return nil
}

// eachKey hands the values of a mapping to the functions of their keys.
func eachKey(n *yaml.Node, at string, keys map[string]func(n *yaml.Node, key string) error) error {
	if n.Kind != yaml.MappingNode {
		return fault{n.Line, at, "must be a mapping"}
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		name := n.Content[i]
		key := strings.TrimPrefix(at+"."+call.Shorten(name.Value), ".")
		read, known := keys[name.Value]
		switch {
		case !known:
			return fault{name.Line, key, "is no key of definitions"}
		case seen[name.Value]:
			return fault{name.Line, key, "is there twice"}
		}
		seen[name.Value] = true
		if err := read(n.Content[i+1], key); err != nil {
			return err
		}
	}
	return nil
}

// parseFamily reads a family of metrics.
func parseFamily(n *yaml.Node, at string) (*exposition.Family, error) {
	//metricsdocgen:skip names are those that an operator chooses
	f := &exposition.Family{Labels: []string{}}
	err := eachKey(n, at, map[string]func(*yaml.Node, string) error{
		"name": func(n *yaml.Node, key string) error {
			f.Name = n.Value
			if n.Kind != yaml.ScalarNode || !model.LegacyValidation.IsValidMetricName(f.Name) || len(f.Name) > call.MaxStringBytes ||
				f.Name == "_total" {
				return fault{n.Line, key, "must be the name of a family of metrics"}
			}
			return nil
		},
		"type": func(n *yaml.Node, key string) error {
			f.Kind = exposition.FamilyKind(n.Value)
			kinds := []exposition.FamilyKind{exposition.CounterFamily, exposition.GaugeFamily, exposition.HistogramFamily}
			if !slices.Contains(kinds, f.Kind) {
				return fault{n.Line, key, fmt.Sprintf("must be one of %v", kinds)}
			}
			return nil
		},
		"help": func(n *yaml.Node, key string) error {
			f.Help = n.Value
			if n.Kind != yaml.ScalarNode || f.Help == "" || len(f.Help) > maxHelp {
				return fault{n.Line, key, fmt.Sprintf("must be a text of 1 to %d bytes", maxHelp)}
			}
			return nil
		},
		"labels": func(n *yaml.Node, key string) (err error) {
			f.Labels, err = parseLabels(n, key)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	for _, needed := range []struct{ key, value string }{{"name", f.Name}, {"type", string(f.Kind)}, {"help", f.Help}} {
		if needed.value == "" {
			return nil, fault{n.Line, at + "." + needed.key, "is missing"}
		}
	}
	return f, nil
}

// parseLabels reads the names of labels.
func parseLabels(n *yaml.Node, key string) ([]string, error) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxLabels {
		return nil, fault{n.Line, key, fmt.Sprintf("must be a list of at most %d names", maxLabels)}
	}
	labels := []string{}
	for i, label := range n.Content {
		key := fmt.Sprintf("%s[%d]", key, i)
		switch name := label.Value; {
		case !model.LegacyValidation.IsValidLabelName(name) || len(name) > call.MaxStringBytes ||
			strings.HasPrefix(name, model.ReservedLabelPrefix) || name == exposition.BoundLabel:
			return nil, fault{label.Line, key, "must be the name of a label, and none that Prometheus gives itself"}
		case name == exposition.InitiatorLabel:
			return nil, fault{label.Line, key, name + " names a person: series may have it, and it is not shown"}
		case slices.Contains(labels, name):
			return nil, fault{label.Line, key, name + " is there twice"}
		default:
			labels = append(labels, name)
		}
	}
	return labels, nil
}

// parseAppFamily reads a family of apps.
func parseAppFamily(n *yaml.Node, at string) (f apps.FamilyDefinition, err error) {
	err = eachKey(n, at, map[string]func(*yaml.Node, string) error{
		"name": func(n *yaml.Node, key string) error {
			f.Name = n.Value
			if n.Kind == yaml.ScalarNode && (f.Name == apps.Unknown || f.Name == apps.Workspace) {
				return fault{n.Line, key, f.Name + " is what belongs to no family"}
			}
			return parseAppName(n, key)
		},
		"display_name": parseText(&f.DisplayName),
		"icon":         parseText(&f.Icon),
		"ide":          parseTruth(&f.IDE),
	})
	if err == nil && f.Name == "" {
		err = fault{n.Line, at + ".name", "is missing"}
	}
	return f, err
}

// parseApp reads an app.
func parseApp(n *yaml.Node, at string) (a apps.AppDefinition, err error) {
	err = eachKey(n, at, map[string]func(*yaml.Node, string) error{
		"name": func(n *yaml.Node, key string) error {
			a.Name = n.Value
			return parseAppName(n, key)
		},
		"family":       parseText(&a.Family),
		"display_name": parseText(&a.DisplayName),
		"icon":         parseText(&a.Icon),
		"ide":          parseTruth(&a.IDE),
	})
	if err == nil && a.Name == "" {
		err = fault{n.Line, at + ".name", "is missing"}
	}
	return a, err
}

// parseAppName checks the name of an app or a family.
func parseAppName(n *yaml.Node, key string) error {
	if n.Kind != yaml.ScalarNode || !apps.IsName(n.Value) {
		return fault{n.Line, key, "must be a name in lower case, at most 64 characters, with _ for - and blanks"}
	}
	return nil
}

// parseText reads a text that people see.
func parseText(to *string) func(*yaml.Node, string) error {
	return func(n *yaml.Node, key string) error {
		if *to = n.Value; n.Kind != yaml.ScalarNode || *to == "" || call.CheckText(*to) != nil {
			return fault{n.Line, key, fmt.Sprintf("must be a text of 1 to %d bytes without control characters", call.MaxStringBytes)}
		}
		return nil
	}
}

// parseTruth reads true or false.
func parseTruth(to **bool) func(*yaml.Node, string) error {
	return func(n *yaml.Node, key string) error {
		*to = new(bool)
		if n.Tag != "!!bool" || n.Decode(*to) != nil {
			return fault{n.Line, key, "must be true or false"}
		}
		return nil
	}
}

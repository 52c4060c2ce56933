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
)

// Limits of a file.
const (
	maxFile     = 1 << 20 // bytes
	maxFamilies = 500
	maxLabels   = 32
	maxHelp     = 500 // bytes
)

// content is what a file says.
type content struct {
	families []*exposition.Family
	lines    []int // of the families
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
	var families *yaml.Node
	if err := eachKey(root, "", map[string]func(*yaml.Node, string) error{
		"metric_families": func(n *yaml.Node, _ string) error {
			families = n
			return nil
		},
	}); err != nil || families == nil {
		return c, err
	}
	if families.Kind != yaml.SequenceNode {
		return c, fault{families.Line, "metric_families", "must be a list"}
	}
	if len(families.Content) > maxFamilies {
		return c, fault{families.Line, "metric_families", fmt.Sprintf("%d families, at most %d", len(families.Content), maxFamilies)}
	}
	for i, n := range families.Content {
		f, err := parseFamily(n, fmt.Sprintf("metric_families[%d]", i))
		if err != nil {
			return c, err
		}
		c.families, c.lines = append(c.families, f), append(c.lines, n.Line)
	}
	return c, nil
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

package server

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/template-insights/insights/server/internal/exposition"
)

// serverLabels say which server a series comes from, by name.
var serverLabels = []string{"instance", "job", "pod"}

// askedFamilies are what expressions may ask for: the documented families, and those that Prometheus tells of its targets.
type askedFamilies struct {
	documented map[string]describedFamily
	// Of them, what several servers tell of the same things: what is in the database, and agents.
	shared map[string]bool
}

func readAskedFamilies(t *testing.T) askedFamilies {
	t.Helper()
	f := askedFamilies{documentedFamilies(t), map[string]bool{}}
	for _, shared := range newLive(t).page.Families() { // what a server tells of itself is in the registry
		f.shared[shared.Name] = true
	}
	return f
}

// Every expression of dashboards, alerts and documents is one that Prometheus reads, is about documented families and labels of
// theirs, and counts the same however many servers there are.
func TestExpressions(t *testing.T) {
	t.Parallel()
	f := readAskedFamilies(t)
	for where, expr := range deployedExpressions(t) {
		for _, fault := range f.faults(expr) {
			t.Errorf("%s: %s:\n%s", where, fault, expr)
		}
	}
}

func TestExpressionFaults(t *testing.T) {
	t.Parallel()
	f := readAskedFamilies(t)
	notTogether := func(family string) string { return family + " is not taken as the max without (instance, job, pod)" }
	for name, c := range map[string]struct{ expr, want string }{
		"shared":               {"max without (instance, pod, job) (coderd_agents_up)", ""},
		"shared, in any order": {"sum by (username) (max without (job, instance, pod) ((coderd_agents_up{template_name='go'})))", ""},
		"some of them": {
			"max without (instance, pod, job) (label_replace({__name__=~'coderd_agents_(up|apps)'}, 'of', '$1', '__name__', '(.*)'))", "",
		},
		"a rate behind it": {"rate((max without (instance, pod, job) (agent_scripts_executed_total))[1h:1m])", ""},
		"own":              {"sum by (instance) (rate(insights_ingest_reports_total[5m]))", ""},
		"of the target":    {"up{job='insights'} == 0", ""},

		"a label that is not dropped": {"max without (instance, job) (coderd_agents_up)", notTogether("coderd_agents_up")},
		"one label too many":          {"max without (instance, pod, job, username) (coderd_agents_up)", notTogether("coderd_agents_up")},
		"a list of labels":            {"sum(max by (template_name, username) (coderd_agents_up))", notTogether("coderd_agents_up")},
		"sum": {
			"sum without (instance, pod, job) (coderd_agentstats_session_count_ssh)", notTogether("coderd_agentstats_session_count_ssh"),
		},
		"nothing": {"coderd_license_active_users", notTogether("coderd_license_active_users")},
		"a rate before it": {
			"max without (instance, pod, job) (rate(agent_scripts_executed_total[1h]))", notTogether("agent_scripts_executed_total"),
		},
		"one of two": {"max without (instance, pod, job) (coderd_agents_up) - coderd_agents_up", notTogether("coderd_agents_up")},
		"two that were one": {
			"max without (instance, pod, job) (coderd_agents_up - coderd_license_errors)",
			notTogether("coderd_agents_up") + "\n" + notTogether("coderd_license_errors"),
		},
		"names that are lost": {
			"max without (instance, pod, job) ({__name__=~'coderd_agents_(up|apps)'})", "the max loses which family a value is of",
		},
		"a server of itself": {
			"max without (instance, pod, job) (insights_ingest_streams)", "insights_ingest_streams is that of one server only",
		},
		"one of the servers": {"max(insights_ingest_streams)", "insights_ingest_streams is that of one server only"},
		"unknown label": {
			"sum by (templates) (max without (instance, pod, job) (coderd_agents_up))", "coderd_agents_up has no label templates",
		},
		"which server, too late": {
			"sum by (instance) (max without (instance, pod, job) (coderd_agents_up))", "coderd_agents_up has no label instance",
		},
		"unknown family": {"max without (instance, pod, job) (coderd_agents_down)", "no family coderd_agents_down is documented"},
		"no family":      {"max without (instance, pod, job) ({username='ada'})", `no family {username="ada"} is documented`},
		"no expression":  {"sum(", "1:5: parse error: unclosed left parenthesis"},
	} {
		if got := strings.Join(f.faults(c.expr), "\n"); got != c.want {
			t.Errorf("%s: %s: %q, want %q", name, c.expr, got, c.want)
		}
	}
}

// faults says what is wrong with an expression.
func (f askedFamilies) faults(text string) (faults []string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			faults = append(faults, f.faultsOf(s, path)...)
		}
		return nil
	})
	return faults
}

// faultsOf says what is wrong with what an expression does with a selector of it.
func (f askedFamilies) faultsOf(s *parser.VectorSelector, path []parser.Node) (faults []string) {
	names, has := f.asked(s)
	if len(names) == 0 {
		return []string{fmt.Sprintf("no family %s is documented", s)}
	}
	shared := f.shared[names[0]]
	if !shared {
		has = append(has, serverLabels...)
	}
	var named []string // labels that the expression names
	for _, matcher := range s.LabelMatchers {
		if matcher.Name != model.MetricNameLabel {
			named = append(named, matcher.Name)
		}
	}
	var innermost *parser.AggregateExpr
	plain, told := true, len(names) == 1 // nothing happens to the series before it; a label tells their families apart
	for _, node := range slices.Backward(path) {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			if innermost == nil {
				innermost = n
			} else {
				named = append(named, n.Grouping...)
			}
		case *parser.Call:
			if n.Func.Name == "label_replace" {
				has = append(has, n.Args[1].(*parser.StringLiteral).Val)
				told = told || innermost == nil && n.Args[3].(*parser.StringLiteral).Val == model.MetricNameLabel
			} else if innermost == nil {
				plain = false
			}
		case *parser.ParenExpr:
		default:
			plain = plain && innermost != nil
		}
	}
	drops := func(label string) bool {
		return innermost != nil && slices.Contains(innermost.Grouping, label) == innermost.Without
	}
	together := innermost != nil && innermost.Op == parser.MAX && innermost.Without &&
		slices.Equal(slices.Sorted(slices.Values(innermost.Grouping)), serverLabels)
	switch {
	case shared && (!together || !plain):
		faults = append(faults, fmt.Sprintf("%s is not taken as the max without (%s)", names[0], strings.Join(serverLabels, ", ")))
	case shared && !told:
		faults = append(faults, "the max loses which family a value is of")
	case !shared && drops("instance") && innermost.Op == parser.MAX:
		faults = append(faults, names[0]+" is that of one server only")
	}
	if innermost != nil && !innermost.Without {
		named = append(named, innermost.Grouping...)
	}
	for _, label := range named {
		if !slices.Contains(has, label) {
			faults = append(faults, fmt.Sprintf("%s has no label %s", names[0], label))
		}
	}
	return faults
}

var histogramSuffix = regexp.MustCompile("_(bucket|sum|count)$")

// asked are the families that a selector asks for, with the labels that any of them has.
func (f askedFamilies) asked(s *parser.VectorSelector) (names, has []string) {
	var name *labels.Matcher
	for _, matcher := range s.LabelMatchers {
		if matcher.Name == model.MetricNameLabel {
			name = matcher
		}
	}
	if name == nil {
		return nil, nil
	}
	if name.Matches("up") || strings.HasPrefix(name.Value, "scrape_") { // of a target, from Prometheus itself
		return []string{name.Value}, nil
	}
	for _, of := range slices.Sorted(maps.Keys(f.documented)) {
		d := f.documented[of]
		switch {
		case name.Matches(of):
			has = append(has, strings.Fields(d.Labels)...)
		case d.Kind == string(exposition.HistogramFamily) && histogramSuffix.ReplaceAllString(name.Value, "") == of:
			has = append(has, strings.Fields(d.Labels+" "+exposition.BoundLabel)...)
		default:
			continue
		}
		names = append(names, of)
	}
	return names, has
}

var promqlBlock = regexp.MustCompile("(?s)```promql\n(.*?)```")

// deployedExpressions are all that an operator or a reader is given, by where they stand.
func deployedExpressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	variables := strings.NewReplacer("$__rate_interval", "5m") // of Grafana; the others stand in strings
	for _, root := range []string{"../deploy/grafana", "../deploy/prometheus", "../docs", "../README.md"} {
		before := len(all)
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			extension := filepath.Ext(path)
			if err != nil || !slices.Contains([]string{".md", ".json", ".yml", ".yaml"}, extension) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found := blocksIn(string(text))
			if extension != ".md" {
				var value any
				if err := yaml.Unmarshal(text, &value); err != nil { // JSON is YAML
					return fmt.Errorf("read %s: %w", path, err)
				}
				found = expressionsIn(value)
			}
			for i, expr := range found {
				all[fmt.Sprintf("%s, expression %d", path, i+1)] = variables.Replace(expr)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == before && root != "../README.md" {
			t.Errorf("no expressions in %s", root)
		}
	}
	return all
}

// blocksIn are the blocks of PromQL of a document.
func blocksIn(text string) (found []string) {
	for _, block := range promqlBlock.FindAllStringSubmatch(text, -1) {
		found = append(found, block[1])
	}
	return found
}

// expressionsIn are the expressions of a dashboard or of rules.
func expressionsIn(value any) (found []string) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if expr, ok := v[key].(string); ok && key == "expr" {
				found = append(found, expr)
			} else {
				found = append(found, expressionsIn(v[key])...)
			}
		}
	case []any:
		for _, member := range v {
			found = append(found, expressionsIn(member)...)
		}
	}
	return found
}

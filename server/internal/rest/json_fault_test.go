package rest

import (
	"errors"
	"strings"
	"testing"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// What is wrong with a body is told with the field it is in.
func TestJSONFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, field, says string }{
		"unknown field":                   {`{"planets":[]}`, "planets", "unknown field"},
		"unknown field, deep":             {`{"reports":[{},{"agent_id":"x","moon":1}]}`, "reports[1].moon", "unknown field"},
		"the same field twice":            {`{"reports":[],"reports":[]}`, "reports", "duplicate field"},
		"the same field in two spellings": {`{"reports":[{"agent_id":"x","agentId":"y"}]}`, "reports[0].agentId", "duplicate field"},
		"the same key twice": {
			`{"reports":[{"session_counts":{"a":1,"a":2}}]}`, "reports[0].session_counts.a", "duplicate map key",
		},
		"number for text":            {`{"reports":[{"agent_id":5}]}`, "reports[0].agent_id", "5"},
		"text for a number":          {`{"reports":[{"sequence":1},{"rx_bytes":"many"}]}`, "reports[1].rx_bytes", "many"},
		"fraction of a whole number": {`{"reports":[{"rx_bytes":1.5}]}`, "reports[0].rx_bytes", "1.5"},
		"beyond 64 bits":             {`{"reports":[{"rx_bytes":9223372036854775808}]}`, "reports[0].rx_bytes", "9223372036854775808"},
		"object for a list":          {`{"reports":{}}`, "reports", "unexpected token"},
		"list for an object":         {`{"reports":[[]]}`, "reports[0]", "unexpected token"},
		"no time": {
			"{\n \"reports\": [\n  {\"agent_id\": \"\u00e4\", \"collected_at\": \"yesterday\"}]}", "reports[0].collected_at", "yesterday",
		},
		"no duration": {`{"reports":[{"interval":"soon"}]}`, "reports[0].interval", "soon"},
		"member of a list": {
			`{"reports":[{"metrics":[{},{"labels":{"a":"b","c":5}}]}]}`, "reports[0].metrics[1].labels.c", "5",
		},
		"text that ends within a field": {`{"reports":[{"agent_id":"x`, "", "unexpected EOF"},
		"not UTF-8":                     {"{\"reports\":[{\"agent_id\":\"\xff\"}]}", "reports[0].agent_id", "invalid UTF-8"},
		"no JSON":                       {"agent", "", "invalid value"},
		"a list":                        {`[]`, "", "unexpected token"},
		"two texts":                     {`{}{}`, "", "unexpected token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (JSONMarshaler{}).Unmarshal([]byte(c.body), &insightsv1.ReportStatsRequest{})
			if err == nil {
				t.Fatal("no error")
			}
			if fault := new(jsonFault); !errors.As(err, &fault) || fault.Field != c.field || !strings.Contains(fault.Detail, c.says) {
				t.Errorf("got %q in field %q; want %q in %q", fault.Detail, fault.Field, c.says, c.field)
			}
		})
	}
}

package rest

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from any
		want string
	}{
		"64-bit numbers, empty lists, proto names": {
			&insightsv1.UserActivity{Username: "ann", Seconds: math.MaxInt64},
			`{"template_ids":[],"user_id":"","username":"ann","avatar_url":"","seconds":9223372036854775807,` +
				`"active_days":0,"apps":[],"median_daily_seconds":0,"kind":""}`,
		},
		"absent sections": {&insightsv1.GetTemplateInsightsResponse{}, `{"default_interval":null,"data_as_of":"","actors":[]}`},
		"null for a message that is not there": {
			&insightsv1.GetUserLatencyResponse{}, `{"report":null,"data_as_of":"","actors":[]}`,
		},
		"numbers with fractions": {
			&insightsv1.ConnectionLatency{P50: 12.25, P95: -1}, `{"p50":12.25,"p95":-1,"samples":0,"rating":"","rating_p95":""}`,
		},
		"text that HTML would take for its own": {
			&insightsv1.Error{Message: "<b>&\"\n"}, `{"message":"\u003cb\u003e\u0026\"\n"}`,
		},
		"times": {
			&insightsv1.StreamStatsResponse{ReportInterval: durationpb.New(30 * time.Second)},
			`{"acknowledged_sequence":0,"rejected":[],"report_interval":"30s","drain":false}`,
		},
		"instants": {
			&insightsv1.Event{At: timestamppb.New(time.Unix(0, 0))}, `{"at":"1970-01-01T00:00:00Z"}`,
		},
		"maps in order": {
			&insightsv1.Metric{Name: "m", Labels: map[string]string{"b": "2", "a": "1"}},
			`{"name":"m","type":"","value":0,"labels":{"a":"1","b":"2"}}`,
		},
		"bare lists": {[]*insightsv1.ParameterValue{{Value: "x", Count: 2}}, `[{"value":"x","count":2}]`},
		"no list":    {[]*insightsv1.ParameterValue(nil), `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := JSONMarshaler{}.Marshal(c.from)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			m, ok := c.from.(proto.Message)
			if !ok {
				return
			}
			again := m.ProtoReflect().New().Interface()
			if err := (JSONMarshaler{}).Unmarshal(got, again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, again, protocmp.Transform()); diff != "" {
				t.Errorf("read again (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := (JSONMarshaler{}).Marshal(&insightsv1.ConnectionLatency{P50: math.NaN()}); err == nil {
		t.Error("NaN became JSON")
	}
}

// A large message is written into one buffer that fits, once one of its kind was written, whatever that held.
func TestLargeJSONIsNotCopied(t *testing.T) {
	t.Parallel()
	list := func(n int, name string) *insightsv1.GetUserActivityResponse {
		answer := &insightsv1.GetUserActivityResponse{Report: &insightsv1.UserActivityReport{}}
		for range n {
			answer.Report.Users = append(answer.Report.Users, &insightsv1.UserActivity{Username: name})
		}
		return answer
	}
	full, empty := list(5000, strings.Repeat("n", 100)), list(50_000, "")
	for range 3 {
		for _, message := range []proto.Message{list(1, ""), full, full} {
			if _, err := (JSONMarshaler{}).Marshal(message); err != nil {
				t.Fatal(err)
			}
		}
		b, err := JSONMarshaler{}.Marshal(full)
		if err != nil || cap(b) > len(b)*11/10 {
			t.Errorf("%d bytes in a buffer of %d, %v", len(b), cap(b), err)
		}
		if _, err := (JSONMarshaler{}).Marshal(empty); err != nil {
			t.Fatal(err)
		}
		if b, err = (JSONMarshaler{}).Marshal(full); err != nil || cap(b) > int(mostJSON*1.1*float64(proto.Size(full))) {
			t.Errorf("after empty ones %d bytes are in a buffer of %d, %v", len(b), cap(b), err)
		}
	}
}

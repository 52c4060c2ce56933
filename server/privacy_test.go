package server_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// What answers about insights may say in words, by message. A field that is not here must first be thought about: answers
// name people by id, username and picture, and hold no e-mail address, host, network address, session or time of one.
var wordsInAnswers = map[string]string{
	"ActivityInterval":               "time",
	"ActivityIntervalUser":           "user_id",
	"ActivityUser":                   "id name username roles avatar_hash kind",
	"AppPreference":                  "type slug display_name",
	"AppUsage":                       "template_ids type display_name slug icon family",
	"CapacityReport":                 "start_time end_time template_ids",
	"ConnectionLatency":              "rating rating_p95",
	"DAUEntry":                       "date",
	"DefaultChange":                  "template_ids parameter_name display_name default_value value message",
	"DefaultInterval":                "interval reason",
	"EditorUsage":                    "name template_ids display_name icon",
	"Finding":                        "sections reason template_ids first_at last_at message next_step",
	"GetActivityResponse":            "data_as_of",
	"GetCapacityReportResponse":      "data_as_of",
	"GetDeploymentDAUsResponse":      "data_as_of collection_mode",
	"GetDiagnosisResponse":           "data_as_of collection_mode",
	"GetOptimizationReportResponse":  "data_as_of",
	"GetROIReportResponse":           "data_as_of",
	"GetSupportReportResponse":       "data_as_of",
	"GetTemplateDAUsResponse":        "data_as_of collection_mode",
	"GetTemplateInsightsResponse":    "data_as_of collection_mode",
	"GetUserActivityResponse":        "next_page_token data_as_of collection_mode",
	"GetUserLatencyResponse":         "next_page_token data_as_of collection_mode",
	"HighLatencyUser":                "template_ids user_id username avatar_url kind",
	"HourLoad":                       "weekday",
	"LowUsageUser":                   "template_ids user_id username avatar_url",
	"OptimizationReport":             "start_time end_time template_ids",
	"Organization":                   "id name display_name",
	"ParameterOption":                "name description value icon",
	"ParameterUsage":                 "template_ids display_name name type description unused_options default_value",
	"ParameterValue":                 "value",
	"ProjectedWeek":                  "start_time end_time",
	"ROIReport":                      "start_time end_time template_ids",
	"SectionReason":                  "section reason",
	"SparseTemplate":                 "template_id name display_name",
	"SupportReport":                  "start_time end_time template_ids",
	"Template":                       "id organization_id name display_name icon",
	"TemplateInsightsIntervalReport": "start_time end_time template_ids interval",
	"TemplateInsightsReport":         "start_time end_time template_ids",
	"TemplateROI":                    "template_id name display_name",
	"UnusedApp":                      "template_id template_name slug display_name",
	"UnusedOption":                   "template_ids parameter_name display_name value",
	"UserActivity":                   "template_ids user_id username avatar_url kind",
	"UserActivityReport":             "start_time end_time template_ids",
	"UserAppUsage":                   "type slug display_name",
	"UserLatency":                    "template_ids user_id username avatar_url kind",
	"UserLatencyReport":              "start_time end_time template_ids",
	"UserStatusCount":                "date",
	"WeekLoad":                       "start_time end_time",
}

func TestAnswersSayNoMoreOfPeople(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	var walk func(m protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		name := string(m.Name())
		if _, seen := got[name]; seen || m.ParentFile().Package() != "insights.v1" {
			return
		}
		got[name] = ""
		var words []string
		for i := range m.Fields().Len() {
			switch f := m.Fields().Get(i); {
			case f.IsMap():
				walk(f.MapValue().Message())
			case f.Message() != nil:
				walk(f.Message())
			case f.Kind() == protoreflect.StringKind || f.Kind() == protoreflect.BytesKind:
				words = append(words, string(f.Name()))
			}
		}
		got[name] = strings.Join(words, " ")
	}
	methods := insightsv1.File_insights_v1_insights_proto.Services().ByName("InsightsService").Methods()
	for i := range methods.Len() {
		walk(methods.Get(i).Output())
	}
	for name, words := range got {
		if words == "" {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(wordsInAnswers, got); diff != "" {
		t.Errorf("words in answers (-thought about +there):\n%s", diff)
	}
}

// No message has a field for what the service must not know.
func TestContractHasNoPlaceForPersonalData(t *testing.T) {
	t.Parallel()
	personal := regexp.MustCompile(
		`(^|_)(e_?mail|mail|phone|(real|full|first|last|given|family|sur)_?name|ip|ip_?addr(ess)?|address|host|host_?name)($|_)`,
	)
	fields := 0
	var walk func(messages protoreflect.MessageDescriptors)
	walk = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			m := messages.Get(i)
			walk(m.Messages())
			for j := range m.Fields().Len() {
				fields++
				if name := string(m.Fields().Get(j).Name()); personal.MatchString(name) {
					t.Errorf("field %s.%s looks like a place for personal data", m.Name(), name)
				}
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("insights.v1", func(f protoreflect.FileDescriptor) bool {
		walk(f.Messages())
		return true
	})
	if fields < 300 {
		t.Errorf("%d fields only", fields)
	}
}

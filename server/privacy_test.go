package server_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// templateWords are what every message of an answer about insights may say in words, and questionWords what the answer and its
// report, which are no items of a list, may say beside them.
var (
	templateWords = []string{"template_id", "template_ids", "template_name"}
	questionWords = []string{"start_time", "end_time", "data_as_of", "data_since", "collection_mode", "next_page_token", "actors"}
)

// wordsInAnswers are what answers about insights may say in words beside that, by message. A field that is not here must first be
// thought about: answers name people by id, username and picture, and hold no e-mail address, host, network address, session or
// time of one.
var wordsInAnswers = map[string]string{
	"ActivityInterval":     "time",
	"ActivityIntervalUser": "user_id",
	"ActivityUser":         "id name username roles avatar_hash kind",
	"AppPreference":        "type slug display_name",
	"AppUsage":             "type display_name slug icon family",
	"AutostartRequirement": "days_of_week",
	"AutostopRequirement":  "days_of_week",
	"ConnectionLatency":    "rating rating_p95",
	"DAUEntry":             "date",
	"DefaultChange":        "parameter_name display_name default_value value message",
	"DefaultInterval":      "interval reason",
	"EditorUsage":          "name display_name icon",
	"Finding":              "sections reason first_at last_at message next_step",
	"HighLatencyUser":      "user_id username avatar_url kind",
	"HourLoad":             "weekday",
	"LowUsageUser":         "user_id username avatar_url",
	"Organization":         "id name display_name icon description default_org_member_roles",
	"MostUsedApp":          "type display_name slug icon",
	"OtherActor":           "actor",
	"ParameterOption":      "name description value icon",
	"ParameterUsage":       "display_name name type description unused_options default_value",
	"ParameterValue":       "value",
	"ProjectedWeek":        "start_time end_time",
	"QueryKey":             "value label",
	"QueryUsageResponse":   "interval withheld reasons",
	"QueryValuesResponse":  "withheld reasons",
	"QueryWindow":          "has_data_from",
	"SectionReason":        "section reason",
	"SparseTemplate":       "name display_name",
	"Template": "id organization_id name display_name icon organization_name organization_display_name provisioner active_version_id" +
		" description deprecation_message organization_icon created_by_id created_by_name max_port_share_level cors_behavior",
	"TemplateInsightsIntervalReport": "start_time end_time interval",
	"TemplateROI":                    "name display_name",
	"UnusedApp":                      "slug display_name",
	"UnusedOption":                   "parameter_name display_name value",
	"UserActivity":                   "user_id username avatar_url kind",
	"UserAppUsage":                   "type slug display_name",
	"UserLatency":                    "user_id username avatar_url kind",
	"UserStatusCount":                "date",
	"WeekLoad":                       "start_time end_time",
	"WithheldPart":                   "part reason",
}

func TestAnswersSayNoMoreOfPeople(t *testing.T) {
	t.Parallel()
	got, items := map[string]string{}, map[string]bool{}
	var walk func(m protoreflect.MessageDescriptor, item bool)
	walk = func(m protoreflect.MessageDescriptor, item bool) {
		name := string(m.Name())
		if before, seen := items[name]; seen && (before || !item) || m.ParentFile().Package() != "insights.v1" {
			return
		}
		items[name] = item
		var words []string
		for i := range m.Fields().Len() {
			switch f := m.Fields().Get(i); {
			case f.IsMap():
				walk(f.MapValue().Message(), true)
			case f.Message() != nil:
				walk(f.Message(), item || f.IsList())
			case f.Kind() == protoreflect.StringKind || f.Kind() == protoreflect.BytesKind:
				if word := string(f.Name()); !slices.Contains(templateWords, word) && (item || !slices.Contains(questionWords, word)) {
					words = append(words, word)
				}
			}
		}
		got[name] = strings.Join(words, " ")
	}
	methods := insightsv1.File_insights_v1_insights_proto.Services().ByName("InsightsService").Methods()
	for i := range methods.Len() {
		walk(methods.Get(i).Output(), false)
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

// No message has a field for what the service must not know, but for the e-mail address that clients of Coder decode, which is always
// empty.
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
				name := string(m.Fields().Get(j).Name())
				if personal.MatchString(name) && (m.Name() != "CurrentUser" || name != "email") {
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

package servertest_test

import (
	"os"
	"slices"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// An RPC that no call is there for is one that the access matrix, the canary, hostile input and fuzzing leave out.
func TestEveryRPCHasACall(t *testing.T) {
	t.Parallel()
	s := servertest.Run(t, storetest.SQLite(t), storetest.Now, nil)
	w := servertest.NewWorld(t, s)
	var served []string
	files := []protoreflect.FileDescriptor{
		insightsv1.File_insights_v1_access_proto, insightsv1.File_insights_v1_catalog_proto, insightsv1.File_insights_v1_ingest_proto,
		insightsv1.File_insights_v1_insights_proto, insightsv1.File_insights_v1_privacy_proto,
		insightsv1.File_insights_v1_definitions_proto, grpc_health_v1.File_grpc_health_v1_health_proto,
	}
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			if _, known := s.ServiceInfo()[string(service.FullName())]; !known {
				t.Errorf("%s is not served", service.FullName())
			}
			for i := range service.Methods().Len() {
				method := service.Methods().Get(i)
				name := string(method.Name())
				served = append(served, name)
				if call := servertest.Calls[name]; call == nil {
					t.Errorf("%s has no call", name)
				} else if got := call(t, w, w.About("a1")).ProtoReflect().Descriptor(); got != method.Input() {
					t.Errorf("%s is called with a %s", name, got.FullName())
				}
			}
		}
	}
	for name := range servertest.Calls {
		if !slices.Contains(served, name) {
			t.Errorf("%s is no RPC", name)
		}
	}
}

package guard

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// openService registers a service in the contract whose RPC has no access rule.
func openService(t *testing.T) map[string]grpc.ServiceInfo {
	t.Helper()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("open.proto"), Package: proto.String("open"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("OpenService"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Leak"), InputType: proto.String(".open.Empty"), OutputType: proto.String(".open.Empty")},
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
		t.Fatal(err)
	}
	return map[string]grpc.ServiceInfo{"open.OpenService": {}}
}

func TestRPCWithoutRuleStopsTheStart(t *testing.T) {
	t.Parallel()
	if _, err := ReadRules(openService(t)); err == nil || !strings.Contains(err.Error(), "open.OpenService.Leak") {
		t.Errorf("an RPC without a rule: %v; want an error that names it", err)
	}
	if _, err := ReadRules(map[string]grpc.ServiceInfo{"nobody.Knows": {}}); err == nil {
		t.Error("a service outside the contract is let in")
	}
	contract := grpc.NewServer()
	insightsv1.RegisterIngestServiceServer(contract, insightsv1.UnimplementedIngestServiceServer{})
	insightsv1.RegisterCatalogServiceServer(contract, insightsv1.UnimplementedCatalogServiceServer{})
	insightsv1.RegisterInsightsServiceServer(contract, insightsv1.UnimplementedInsightsServiceServer{})
	insightsv1.RegisterAccessServiceServer(contract, insightsv1.UnimplementedAccessServiceServer{})
	insightsv1.RegisterPrivacyServiceServer(contract, insightsv1.UnimplementedPrivacyServiceServer{})
	all, err := ReadRules(contract.GetServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	for service, info := range contract.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if _, ok := all[method]; !ok && !IsPublic(method) {
				t.Errorf("%s has no rule", method)
			}
		}
	}
}

// The chain is the same for unary calls and for streams, and its order is that of the documentation.
func TestChain(t *testing.T) {
	t.Parallel()
	g, err := New(Options{Logger: slog.New(slog.DiscardHandler), Clock: time.Now}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range g.steps {
		names = append(names, s.name)
		if s.unary == nil || s.stream == nil {
			t.Errorf("%s is missing for one kind of calls", s.name)
		}
	}
	diff := cmp.Diff([]string{"metrics", "log", "errors", "deadline", "recovery", "authentication", "rate", "access", "audit"}, names)
	if diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
}

package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/store/storetest"
)

// Health checks may ask for the server or for each of its services by name, and learn that it stops before it stops.
func TestHealthOfServices(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	client := healthpb.NewHealthClient(r.Conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watched := map[string]healthpb.Health_WatchClient{}
	expect := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watched[service].Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("watching %q: %v, %v, want %v", service, got, err, want)
		}
	}
	services := []string{""}
	for service := range r.ServiceInfo() {
		services = append(services, service)
	}
	if len(services) < 6 {
		t.Fatalf("services: %q", services)
	}
	for _, service := range append(services, "insights.v1.Nothing") {
		var err error
		if watched[service], err = client.Watch(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range services {
		got, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, got, err)
		}
		expect(service, healthpb.HealthCheckResponse_SERVING)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "insights.v1.Nothing"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	expect("insights.v1.Nothing", healthpb.HealthCheckResponse_SERVICE_UNKNOWN)
	r.Stop()
	for _, service := range services {
		expect(service, healthpb.HealthCheckResponse_NOT_SERVING)
	}
}

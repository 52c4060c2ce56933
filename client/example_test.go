package client_test

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// An agent reports every 30 seconds what it sees.
func ExampleReporter() {
	connect := func(ctx context.Context, conn *grpc.ClientConn, agentID, token string) error {
		reporter := client.NewReporter(conn, token)
		go reporter.Run(ctx) //nolint:errcheck // returns when ctx is done
		for range time.Tick(30 * time.Second) {
			err := reporter.Report(ctx, &insightsv1.AgentReport{
				AgentId:                   agentID,
				CollectedAt:               timestamppb.Now(),
				SessionCounts:             map[string]int64{"vscode": 1},
				ConnectionCount:           1,
				ConnectionMedianLatencyMs: 12.5,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	_ = connect
}

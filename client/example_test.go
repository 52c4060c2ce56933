package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// connect is for a server on the same machine. Leave the last argument out, and the connection is encrypted.
func connect(address, tokenFile string) (*grpc.ClientConn, error) {
	return client.NewConn(address, client.TokenFile(tokenFile), grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// runAgent reports every 30 seconds what the agent sees, until the context is done.
func runAgent(ctx context.Context, conn *grpc.ClientConn, agentID string, see func() map[string]int64) error {
	reporter := client.NewReporter(conn)
	running := make(chan struct{})
	go func() {
		defer close(running)
		_ = reporter.Run(ctx) // until ctx is done; then it sends what is left, for 5 seconds at most
	}()
	defer func() { <-running }()
	every := time.NewTicker(30 * time.Second)
	defer every.Stop()
	for {
		err := reporter.Report(ctx, &insightsv1.AgentReport{
			AgentId:                   agentID,
			CollectedAt:               timestamppb.Now(),
			SessionCounts:             see(), // for example {"vscode": 1, "ssh": 2}
			ConnectionCount:           1,
			ConnectionMedianLatencyMs: 12.5,
		})
		if err != nil {
			return err // ctx is done
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// An agent reports what it sees for as long as it runs.
func ExampleReporter() {
	w := newWorld()
	defer w.close()
	conn, err := connect(w.address, w.agentToken)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	ctx, stop := context.WithCancel(context.Background())
	go func() {
		w.await(1)
		stop()
	}()
	err = runAgent(ctx, conn, w.agent, func() map[string]int64 { return map[string]int64{"vscode": 1} })
	fmt.Println(err, w.minutes())
	// Output: context canceled 1
}

// spoolReports reports over a connection what is on disk already before anything else.
func spoolReports(ctx context.Context, conn *grpc.ClientConn, agentID string, reports []*insightsv1.AgentReport) error {
	folder := filepath.Join(os.TempDir(), "insights-"+agentID) // one for each agent
	spool, err := client.OpenSpool(folder, 1<<20)              // a MiB is good for two days without a server
	if err != nil {
		return err
	}
	defer spool.Close()
	reporter := client.NewSpoolingReporter(conn, spool)
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = reporter.Run(running)
	}()
	var errs []error
	for _, report := range reports {
		errs = append(errs, reporter.Report(ctx, report)) // nil: the report is on disk; a full disk says nothing of the next one
	}
	errs = append(errs, reporter.Flush(ctx)) // nil: the server has everything
	stop()
	<-ended
	return errors.Join(errs...)
}

// Reports that nobody takes outlive their process on disk.
func ExampleNewSpoolingReporter() {
	w := newWorld()
	defer w.close()
	defer os.RemoveAll(filepath.Join(os.TempDir(), "insights-"+w.agent))
	report := func(minutes int) *insightsv1.AgentReport {
		at := w.began.Add(-time.Duration(minutes) * time.Minute)
		return &insightsv1.AgentReport{
			AgentId: w.agent, CollectedAt: timestamppb.New(at), ConnectionCount: 1, SessionCounts: map[string]int64{"ssh": 1},
		}
	}

	conn, err := connect(w.address, w.agentToken)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	spool, err := client.OpenSpool(filepath.Join(os.TempDir(), "insights-"+w.agent), 1<<20)
	if err != nil {
		panic(err)
	}
	reporter := client.NewSpoolingReporter(conn, spool) // of an agent that dies before it sends anything
	fmt.Println(reporter.Report(context.Background(), report(1)), reporter.Report(context.Background(), report(2)), spool.Close())
	fmt.Println(w.minutes(), "minutes at the server")

	fmt.Println(spoolReports(context.Background(), conn, w.agent, []*insightsv1.AgentReport{report(3)}))
	fmt.Println(w.minutes(), "minutes at the server")
	// Output:
	// <nil> <nil> <nil>
	// 0 minutes at the server
	// <nil>
	// 3 minutes at the server
}

// printActivity prints who used workspaces yesterday and today, and for how long.
func printActivity(ctx context.Context, conn *grpc.ClientConn) error {
	now := time.Now().UTC()
	insights := insightsv1.NewInsightsServiceClient(conn)
	answer, err := insights.GetUserActivity(ctx, &insightsv1.GetUserActivityRequest{
		StartTime: now.Truncate(24*time.Hour).AddDate(0, 0, -1).Format(time.RFC3339), // the offset says where your days begin
		EndTime:   now.Truncate(time.Hour).Add(time.Hour).Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	for _, user := range answer.GetReport().GetUsers() {
		fmt.Println(user.GetUsername(), time.Duration(user.GetSeconds())*time.Second)
	}
	return nil
}

// printHours prints how long people worked with each template in four weeks, today included.
func printHours(ctx context.Context, conn *grpc.ClientConn) error {
	now := time.Now().UTC()
	answer, err := insightsv1.NewInsightsServiceClient(conn).QueryUsage(ctx, &insightsv1.QueryUsageRequest{
		StartTime:  now.Truncate(24*time.Hour).AddDate(0, 0, -27).Format(time.RFC3339),
		EndTime:    now.Truncate(time.Hour).Add(time.Hour).Format(time.RFC3339),
		Metrics:    []string{"used_seconds"},
		Dimensions: []string{"template"},
	})
	if err != nil {
		return err
	}
	for _, row := range answer.GetRows() {
		fmt.Println(row.GetKeys()[0].GetLabel(), time.Duration(row.GetValues().GetUsedSeconds())*time.Second)
	}
	return nil
}

// A service asks with the generated client; what is UNAVAILABLE is asked again.
func ExampleNewConn() {
	w := newWorld()
	defer w.close()
	w.use(2)
	conn, err := connect(w.address, w.ownerToken)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Println(printActivity(context.Background(), conn))
	fmt.Println(printHours(context.Background(), conn))
	// Output:
	// ada 2m0s
	// <nil>
	// go 2m0s
	// <nil>
}

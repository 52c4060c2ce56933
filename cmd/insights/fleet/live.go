package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Batches of the control plane and the proxy.
const (
	batchSize   = 1000
	callTimeout = time.Minute
	loadTimeout = 5 * time.Minute // of all that is loaded
)

// Load tells a server all that the company knows at its moment: catalog, builds and the month behind it. The token is a
// control plane's.
func (c *Company) Load(ctx context.Context, conn *grpc.ClientConn, token string) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	applied, err := insightsv1.NewCatalogServiceClient(conn).ApplyCatalog(ctx, c.Catalog)
	if err != nil {
		return fmt.Errorf("apply catalog: %w", err)
	}
	if err := firstRejection(applied.GetRejected()); err != nil {
		return err
	}
	ingest := insightsv1.NewIngestServiceClient(conn)
	events, err := ingest.ReportEvents(ctx, &insightsv1.ReportEventsRequest{Events: c.Builds})
	if err != nil {
		return fmt.Errorf("report events: %w", err)
	}
	if err := firstRejection(events.GetRejected()); err != nil {
		return err
	}
	sessions, err := ingest.ReportAppSessions(ctx, &insightsv1.ReportAppSessionsRequest{Sessions: c.AppSessions(c.now.Add(-month), c.now)})
	if err != nil {
		return fmt.Errorf("report app sessions: %w", err)
	}
	if err := firstRejection(sessions.GetRejected()); err != nil {
		return err
	}
	return c.loadReports(ctx, ingest)
}

// loadReports sends the past of the agents in batches, several at a time so that the server can commit them together.
func (c *Company) loadReports(ctx context.Context, ingest insightsv1.IngestServiceClient) error {
	const senders = 4
	batches := make(chan []*insightsv1.AgentReport)
	failed := make(chan error, senders)
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for batch := range batches {
				answer, err := ingest.ReportStats(ctx, &insightsv1.ReportStatsRequest{Reports: batch})
				if err == nil {
					err = firstRejection(answer.GetRejected())
				}
				if err != nil {
					failed <- fmt.Errorf("report stats: %w", err)
					return
				}
			}
		})
	}
	var batch []*insightsv1.AgentReport
	send := func() error {
		select {
		case batches <- batch:
			batch = nil
			return nil
		case err := <-failed:
			return err
		}
	}
	err := c.History(func(r *insightsv1.AgentReport) error {
		if batch = append(batch, r); len(batch) < batchSize {
			return nil
		}
		return send()
	})
	if err == nil && len(batch) > 0 {
		err = send()
	}
	close(batches)
	sending.Wait()
	if err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func firstRejection(rejected []*insightsv1.Rejection) error {
	if len(rejected) == 0 {
		return nil
	}
	return fmt.Errorf("%d items rejected, the first: %s %d: %s", len(rejected), rejected[0].GetList(), rejected[0].GetIndex(), rejected[0].GetReason())
}

// Stream lets every agent report over a connection of its own, and the proxy report what it carries, until the context is
// done. The control plane's token gets the agents theirs.
func (c *Company) Stream(ctx context.Context, connect func() (*grpc.ClientConn, error), controlPlane, proxy string, interval time.Duration, logger *slog.Logger) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ids := make([]string, len(c.workspaces))
	for i, w := range c.workspaces {
		ids[i] = w.agent.String()
	}
	issued, err := insightsv1.NewAccessServiceClient(conn).CreateAgentTokens(
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+controlPlane), &insightsv1.CreateAgentTokensRequest{AgentIds: ids})
	if err != nil {
		return fmt.Errorf("create agent tokens: %w", err)
	}
	var work sync.WaitGroup
	for i, w := range c.workspaces {
		own, err := connect()
		if err != nil {
			return err
		}
		defer own.Close()
		reporter := client.NewReporter(own, issued.GetTokens()[i].GetSecret())
		work.Go(func() { _ = reporter.Run(ctx) }) // ends with the context
		work.Go(func() {
			every(ctx, interval, time.Duration(i)*interval/workspaces, func(at time.Time) {
				_ = reporter.Report(ctx, w.report(at, interval)) // ends with the context
			})
		})
	}
	work.Go(func() {
		authorized := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+proxy)
		every(ctx, interval, 0, func(at time.Time) {
			call, cancel := context.WithTimeout(authorized, callTimeout)
			defer cancel()
			sessions := c.AppSessions(at.Add(-2*interval), at)
			if _, err := insightsv1.NewIngestServiceClient(conn).ReportAppSessions(call, &insightsv1.ReportAppSessionsRequest{Sessions: sessions}); err != nil && ctx.Err() == nil {
				logger.WarnContext(ctx, "proxy reports app sessions", "error", err)
			}
		})
	})
	work.Wait()
	return nil
}

// every calls f at once after a delay, and then again and again.
func every(ctx context.Context, interval, delay time.Duration, f func(time.Time)) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-timer.C:
			f(at)
			timer.Reset(interval)
		}
	}
}

package fleet

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Batches of the control plane and the proxy.
const (
	batchSize   = 1000
	callTimeout = time.Minute
	loadTimeout = 5 * time.Minute // of all that is loaded
)

// Connect makes a connection to the server for whoever has the token.
type Connect func(token string) (*grpc.ClientConn, error)

// Load tells a server all that the company knows at its moment: catalog, events and the month behind it. The token is a
// control plane's.
func (c *Company) Load(ctx context.Context, connect Connect, token string) error {
	conn, err := connect(token)
	if err != nil {
		return err
	}
	defer conn.Close()
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
	events, err := ingest.ReportEvents(ctx, &insightsv1.ReportEventsRequest{Events: c.Events})
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
	return fmt.Errorf(
		"%d items rejected, the first: %s %d: %s", len(rejected), rejected[0].GetList(), rejected[0].GetIndex(), rejected[0].GetReason(),
	)
}

// Stream lets every agent report over a connection of its own, the proxy report what it carries and the control plane what
// happens, until the context is done. The control plane's token gets the agents theirs.
func (c *Company) Stream(
	ctx context.Context, connect Connect, controlPlaneToken, proxyToken string, interval time.Duration, logger *slog.Logger,
) error {
	controlPlaneConn, err := connect(controlPlaneToken)
	if err != nil {
		return err
	}
	defer controlPlaneConn.Close()
	proxyConn, err := connect(proxyToken)
	if err != nil {
		return err
	}
	defer proxyConn.Close()
	ids := make([]string, len(c.workspaces))
	for i, w := range c.workspaces {
		ids[i] = w.agent.String()
	}
	issued, err := insightsv1.NewAccessServiceClient(controlPlaneConn).CreateAgentTokens(
		ctx, &insightsv1.CreateAgentTokensRequest{AgentIds: ids},
	)
	if err != nil {
		return fmt.Errorf("create agent tokens: %w", err)
	}
	reporters := make([]*client.Reporter, len(c.workspaces))
	for i := range reporters {
		own, err := connect(issued.GetTokens()[i].GetSecret())
		if err != nil {
			return err
		}
		defer own.Close()
		reporters[i] = client.NewReporter(own)
	}
	var work sync.WaitGroup
	for i, w := range c.workspaces {
		reporter := reporters[i]
		work.Go(func() { _ = reporter.Run(ctx) }) // ends with the context
		work.Go(func() {
			every(ctx, interval, time.Duration(i)*interval/workspaces, func(at time.Time) {
				report := w.report(at, interval)
				report.Metrics = c.forwarded(w, at)
				_ = reporter.Report(ctx, report) // ends with the context
			})
		})
	}
	proxy, control := insightsv1.NewIngestServiceClient(proxyConn), insightsv1.NewIngestServiceClient(controlPlaneConn)
	events := &controlPlane{company: c}
	for _, service := range []struct {
		name   string
		report func(ctx context.Context, at time.Time) ([]*insightsv1.Rejection, error)
	}{
		{"proxy", func(ctx context.Context, at time.Time) ([]*insightsv1.Rejection, error) {
			answer, err := proxy.ReportAppSessions(ctx, &insightsv1.ReportAppSessionsRequest{
				Sessions: c.AppSessions(at.Add(-2*interval), at),
			})
			return answer.GetRejected(), err
		}},
		{"control plane", func(ctx context.Context, at time.Time) ([]*insightsv1.Rejection, error) {
			answer, err := control.ReportEvents(ctx, events.report(at, interval))
			return answer.GetRejected(), err
		}},
	} {
		work.Go(func() {
			every(ctx, interval, 0, func(at time.Time) {
				call, cancel := context.WithTimeout(ctx, callTimeout)
				defer cancel()
				rejected, err := service.report(call, at)
				if err == nil {
					err = firstRejection(rejected)
				}
				if err != nil && ctx.Err() == nil {
					logger.WarnContext(ctx, "service reports", "service", service.name, "error", err)
				}
			})
		})
	}
	work.Wait()
	return nil
}

// Watch asks for the insights of the last day over REST, as the page of somebody does who leaves it open, until the context
// is done.
func (c *Company) Watch(ctx context.Context, url, token string, interval time.Duration, logger *slog.Logger) {
	every(ctx, interval, 0, func(at time.Time) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := ask(call, url, token, at); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "watch insights", "error", err)
		}
	})
}

func ask(ctx context.Context, url, token string, at time.Time) error {
	day := at.UTC().Truncate(24 * time.Hour)
	window := "?start_time=" + day.AddDate(0, 0, -1).Format(time.RFC3339) + "&end_time=" + day.Format(time.RFC3339)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v2/insights/templates"+window, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Coder-Session-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for insights: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
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

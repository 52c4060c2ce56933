package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// rejectCause says why an item was not stored, as the label reason of insights_ingest_rejected_total shows it.
type rejectCause string

const (
	causeInvalid rejectCause = "invalid"       // breaks a rule of the contract
	causeTooOld  rejectCause = "too_old"       // before the oldest moment that is taken
	causeTooNew  rejectCause = "too_new"       // too far in the future
	causeUnknown rejectCause = "unknown_agent" // the agent, or what else the item names, is not in the catalog yet
	causeDeleted rejectCause = "deleted"       // the workspace was deleted before
	causeRefused rejectCause = "refused"       // the database will never take it
)

// rejectCauses is the closed list, so that the first scrape shows a zero for each.
var rejectCauses = []rejectCause{causeInvalid, causeTooOld, causeTooNew, causeUnknown, causeDeleted, causeRefused}

// metrics is what ingest tells Prometheus about itself. Families with many series are not in it: they are producers of the page.
type metrics struct {
	registry prometheus.Registerer

	reports        prometheus.Counter
	rejected       map[rejectCause]prometheus.Counter
	rows           prometheus.Counter
	commitSeconds  prometheus.Histogram
	commitFailures prometheus.Counter
	lagSeconds     prometheus.Histogram
	streams        prometheus.Gauge
	websockets     prometheus.Gauge    // streams, under the name that existing dashboards know
	durations      prometheus.Observer // of streams

	forwarded map[forwardedCause]prometheus.Counter // series that are left out

	foldPages   prometheus.Counter
	foldRows    prometheus.Counter
	foldSeconds prometheus.Histogram
	formerPages prometheus.Gauge

	expired      map[string]prometheus.Counter // by kind
	expireTime   prometheus.Gauge
	announced    map[string]prometheus.Gauge // days that go, by kind
	clockDoubted prometheus.Gauge

	followLag   *prometheus.GaugeVec
	followFails *prometheus.GaugeVec // without labels: a server that follows nothing has no series
}

func newMetrics(registry prometheus.Registerer) *metrics {
	factory := promauto.With(registry)
	m := &metrics{
		registry: registry,
		reports: factory.NewCounter(prometheus.CounterOpts{
			Name: "insights_ingest_reports_total",
			Help: "Reports, app sessions and events that were acknowledged: they are durable.",
		}),
		rejected:  map[rejectCause]prometheus.Counter{},
		forwarded: map[forwardedCause]prometheus.Counter{},
		expired:   map[string]prometheus.Counter{},
		announced: map[string]prometheus.Gauge{},
		rows: factory.NewCounter(prometheus.CounterOpts{
			Name: "insights_ingest_rows_total",
			Help: "Usage rows that were merged into the database, before rows of one key are united.",
		}),
		commitSeconds: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "insights_ingest_commit_seconds",
			Help:    "Duration of one try to commit a batch of usage rows, failed tries included.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}),
		commitFailures: factory.NewCounter(prometheus.CounterOpts{
			Name: "insights_ingest_commit_failures_total",
			Help: "Tries to commit a batch of usage rows that failed and are repeated: the database does not answer, is full or may not " +
				"be written.",
		}),
		lagSeconds: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "insights_ingest_lag_seconds",
			Help:    "Time from the moment a report was collected, by the agent's clock, to its acknowledgement.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400},
		}),
		streams: factory.NewGauge(prometheus.GaugeOpts{
			Name: "insights_ingest_streams",
			Help: "Streams of agents that are open now.",
		}),
		websockets: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "coderd_api_concurrent_websockets",
			Help: "The total number of concurrent API websockets: open streams of agents.",
		}, []string{"path"}).WithLabelValues(insightsv1.IngestService_StreamStats_FullMethodName),
		durations: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "coderd_api_websocket_durations_seconds",
			Help:    "Websocket duration distribution of requests in seconds: of the streams of agents.",
			Buckets: []float64{0.001, 1, 60, 3600, 54000, 108000},
		}, []string{"path"}).WithLabelValues(insightsv1.IngestService_StreamStats_FullMethodName),
		foldPages: factory.NewCounter(prometheus.CounterOpts{
			Name: "insights_fold_pages_total",
			Help: "Pages, one per template and day, that folding wrote.",
		}),
		foldRows: factory.NewCounter(prometheus.CounterOpts{
			Name: "insights_fold_rows_total",
			Help: "Usage rows that folding moved into pages.",
		}),
		foldSeconds: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "insights_fold_seconds",
			Help:    "Duration of one pass of folding over all templates and days that are due.",
			Buckets: []float64{0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600},
		}),
		formerPages: factory.NewGauge(prometheus.GaugeOpts{
			Name: "insights_former_pages",
			Help: "Pages in the format of a release before, which this server has yet to rewrite. Answers are the same before and after.",
		}),
		expireTime: factory.NewGauge(prometheus.GaugeOpts{
			Name: "insights_retention_last_success_timestamp_seconds",
			Help: "When this server last deleted what is beyond retention, which it does every day, as Unix time; 0: not yet.",
		}),
		clockDoubted: factory.NewGauge(prometheus.GaugeOpts{
			Name: "insights_retention_clock_doubted",
			Help: "1 while nothing is deleted because the clock jumped by more than a day, or that of the database is another one.",
		}),
	}
	m.followLag = factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: "insights_follow_lag_seconds",
		Help: "Age of the newest of what is here of another system that is followed, by part: usage, or everything (all).",
	}, []string{"source", "part"})
	m.followFails = factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: "insights_follow_fails",
		Help: "1 while this server, told to follow another system, cannot get in or read its past; the log says why.",
	}, nil)
	announced := factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: "insights_retention_announced_seconds",
		Help: "Time, in days with data, that retention takes a day after it was announced, because it is much, by kind of data; 0: none.",
	}, []string{"kind"})
	for _, kind := range store.BrakedKinds {
		m.announced[kind] = announced.WithLabelValues(kind)
	}
	expired := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "insights_retention_deleted_total",
		Help: "Pages and rows that this server deleted or emptied because they were beyond retention, by kind of data.",
	}, []string{"kind"})
	for _, kind := range store.ExpiredKinds {
		m.expired[kind] = expired.WithLabelValues(kind)
	}
	rejected := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "insights_ingest_rejected_total",
		Help: "Reports, app sessions and events that were not taken, by reason.",
	}, []string{"reason"})
	for _, cause := range rejectCauses {
		m.rejected[cause] = rejected.WithLabelValues(string(cause))
	}
	forwarded := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "insights_agent_series_dropped_total",
		Help: "Series forwarded by agents that are not shown, by reason. The reports that carried them count.",
	}, []string{"reason"})
	for _, cause := range forwardedCauses {
		m.forwarded[cause] = forwarded.WithLabelValues(string(cause))
	}
	return m
}

// openStream counts a stream until the function that it returns is called.
func (m *metrics) openStream() (leave func()) {
	begin := time.Now() // the real clock: how long streams are open is measured
	m.websockets.Inc()
	return func() {
		m.websockets.Dec()
		m.durations.Observe(time.Since(begin).Seconds())
	}
}

// reject counts one item that was not taken.
func (m *metrics) reject(cause rejectCause) { m.rejected[cause].Inc() }

// dropForwarded counts series of agents that are not shown.
func (m *metrics) dropForwarded(cause forwardedCause, n int) { m.forwarded[cause].Add(float64(n)) }

// watchQueue shows how many reports wait for a commit. The queue is asked at each scrape, which costs senders nothing.
func (m *metrics) watchQueue(length func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "insights_ingest_queue_length",
		Help: "Reports that wait for a commit now; senders wait while there is no room.",
	}, func() float64 { return float64(length()) }))
}

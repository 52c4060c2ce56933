package query

import (
	"math"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// Metrics.
const (
	metricActiveUsers = "active_users"
	metricSeconds     = "used_seconds"
	metricLaunches    = "launches"
	metricActiveDays  = "active_days"
	metricPeak        = "peak_users"
	metricWorkspaces  = "workspaces"
	metricP50         = "latency_p50_ms"
	metricP95         = "latency_p95_ms"
	metricSamples     = "latency_samples"
	metricRunning     = "running_seconds"
	metricAttended    = "attended_seconds"
	metricUnattended  = "unattended_seconds"
	metricUnknown     = "unknown_seconds"
	metricBuilds      = "builds"
	metricFailed      = "failed_builds"
	metricReadyP50    = "ready_p50_seconds"
	metricReadyP95    = "ready_p95_seconds"
)

// metrics are all, ofUsage those of usage, latency among these those of samples, times those of the time of workspaces, and builds those
// of their builds.
var (
	metrics = []string{
		metricActiveUsers, metricSeconds, metricLaunches, metricActiveDays, metricPeak, metricWorkspaces, metricP50, metricP95,
		metricSamples, metricRunning, metricAttended, metricUnattended, metricUnknown, metricBuilds, metricFailed, metricReadyP50,
		metricReadyP95,
	}
	ofUsage = metrics[:9]
	latency = metrics[6:9]
	times   = metrics[9:13]
	builds  = metrics[13:]
)

// metric is what a cell tells of a metric.
type metric struct {
	// rank is the figure as rows are ordered by it: one that there is not is the lowest.
	rank func(*store.Figures) int64
	// write writes the figure, if there is one.
	write func(*insightsv1.QueryValues, *store.Figures)
}

// metricOf are all metrics by name.
var metricOf = map[string]metric{
	metricActiveUsers: count(
		func(f *store.Figures) int64 { return f.People },
		func(v *insightsv1.QueryValues) **int64 { return &v.ActiveUsers },
	),
	metricSeconds: count(
		func(f *store.Figures) int64 { return 60 * f.Minutes },
		func(v *insightsv1.QueryValues) **int64 { return &v.UsedSeconds },
	),
	metricLaunches: count(
		func(f *store.Figures) int64 { return f.Launches },
		func(v *insightsv1.QueryValues) **int64 { return &v.Launches },
	),
	metricActiveDays: count(
		func(f *store.Figures) int64 { return f.Days },
		func(v *insightsv1.QueryValues) **int64 { return &v.ActiveDays },
	),
	metricPeak: count(
		func(f *store.Figures) int64 { return f.Peak },
		func(v *insightsv1.QueryValues) **int64 { return &v.PeakUsers },
	),
	metricWorkspaces: count(
		func(f *store.Figures) int64 { return f.Workspaces },
		func(v *insightsv1.QueryValues) **int64 { return &v.Workspaces },
	),
	metricP50: length(
		func(f *store.Figures) (int64, float64) { return f.Latency.Samples, f.Latency.P50 },
		func(v *insightsv1.QueryValues) **float64 { return &v.LatencyP50Ms },
	),
	metricP95: length(
		func(f *store.Figures) (int64, float64) { return f.Latency.Samples, f.Latency.P95 },
		func(v *insightsv1.QueryValues) **float64 { return &v.LatencyP95Ms },
	),
	metricSamples: count(
		func(f *store.Figures) int64 { return f.Latency.Samples },
		func(v *insightsv1.QueryValues) **int64 { return &v.LatencySamples },
	),
	metricRunning: count(
		func(f *store.Figures) int64 { return 60 * f.Time.Running },
		func(v *insightsv1.QueryValues) **int64 { return &v.RunningSeconds },
	),
	metricAttended: count(
		func(f *store.Figures) int64 { return 60 * f.Time.Attended },
		func(v *insightsv1.QueryValues) **int64 { return &v.AttendedSeconds },
	),
	metricUnattended: count(
		func(f *store.Figures) int64 { return 60 * f.Time.Unattended },
		func(v *insightsv1.QueryValues) **int64 { return &v.UnattendedSeconds },
	),
	metricUnknown: count(
		func(f *store.Figures) int64 { return 60 * f.Time.Unknown },
		func(v *insightsv1.QueryValues) **int64 { return &v.UnknownSeconds },
	),
	metricBuilds: count(
		func(f *store.Figures) int64 { return f.Builds.Builds },
		func(v *insightsv1.QueryValues) **int64 { return &v.Builds },
	),
	metricFailed: count(
		func(f *store.Figures) int64 { return f.Builds.Failed },
		func(v *insightsv1.QueryValues) **int64 { return &v.FailedBuilds },
	),
	metricReadyP50: length(
		func(f *store.Figures) (int64, float64) { return f.Builds.Ready, f.Builds.P50 },
		func(v *insightsv1.QueryValues) **float64 { return &v.ReadyP50Seconds },
	),
	metricReadyP95: length(
		func(f *store.Figures) (int64, float64) { return f.Builds.Ready, f.Builds.P95 },
		func(v *insightsv1.QueryValues) **float64 { return &v.ReadyP95Seconds },
	),
}

// count is a metric that every cell has.
func count(figure func(*store.Figures) int64, field func(*insightsv1.QueryValues) **int64) metric {
	return metric{figure, func(v *insightsv1.QueryValues, f *store.Figures) {
		n := figure(f)
		*field(v) = &n
	}}
}

// length is a metric of so many times, which are not negative: without any there is none.
func length(figure func(*store.Figures) (of int64, length float64), field func(*insightsv1.QueryValues) **float64) metric {
	return metric{
		rank: func(f *store.Figures) int64 {
			if of, length := figure(f); of > 0 {
				return int64(math.Float64bits(length)) // in the same order
			}
			return -1
		},
		write: func(v *insightsv1.QueryValues, f *store.Figures) {
			if of, length := figure(f); of > 0 {
				*field(v) = &length
			}
		},
	}
}

// values writes the metrics of a cell that were asked for.
func (q question) values(f *store.Figures) *insightsv1.QueryValues {
	v := &insightsv1.QueryValues{}
	for _, name := range q.metrics {
		metricOf[name].write(v, f)
	}
	return v
}

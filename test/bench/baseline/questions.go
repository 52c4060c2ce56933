package baseline

import (
	"context"
	_ "embed" // for the statements
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

var (
	//go:embed calibration.sql
	calibrationSQL string
	//go:embed template_insights.sql
	templateInsightsSQL string
	//go:embed by_interval.sql
	byIntervalSQL string
	//go:embed app_insights.sql
	appInsightsSQL string
	//go:embed parameter_insights.sql
	parameterInsightsSQL string
	//go:embed user_activity.sql
	userActivitySQL string
	//go:embed user_latency.sql
	userLatencySQL string
)

// TemplateInsights is what is known of templates.
type TemplateInsights struct {
	ActiveUsers int64
	Templates   []uuid.UUID
	Families    []Family // the builtin entries
}

// Family is the use of one builtin entry.
type Family struct {
	Slug      string
	Templates []uuid.UUID
	Seconds   int64
}

// TemplateInsights answers for the builtin entries.
func (db *DB) TemplateInsights(ctx context.Context, w Window) (TemplateInsights, error) {
	a := TemplateInsights{
		Families: []Family{{Slug: "vscode"}, {Slug: "jetbrains"}, {Slug: "reconnecting-pty"}, {Slug: "ssh"}, {Slug: "sftp"}},
	}
	into := []any{&a.ActiveUsers, &a.Templates}
	for i := range a.Families {
		into = append(into, &a.Families[i].Templates, &a.Families[i].Seconds)
	}
	return a, db.conn.QueryRow(ctx, templateInsightsSQL, w.arguments()...).Scan(into...)
}

// Day is the activity of 24 hours.
type Day struct {
	Begins      time.Time
	ActiveUsers int64
	Templates   []uuid.UUID
}

// Days answers for each 24 hours of the window.
func (db *DB) Days(ctx context.Context, w Window) ([]Day, error) {
	return ask[Day](ctx, db, byIntervalSQL, w.arguments())
}

// App is the use of one workspace app.
type App struct {
	Slug        string
	Templates   []uuid.UUID
	ActiveUsers int64
	Seconds     int64
	TimesUsed   int64
}

// AppInsights answers for the workspace apps.
func (db *DB) AppInsights(ctx context.Context, w Window) ([]App, error) {
	return ask[App](ctx, db, appInsightsSQL, w.arguments())
}

// ParameterValue is one value of a parameter and how many workspaces have it.
type ParameterValue struct {
	Name      string
	Templates []uuid.UUID // of the parameter
	Value     string
	Count     int64
}

// ParameterInsights answers for the values of parameters.
func (db *DB) ParameterInsights(ctx context.Context, w Window) ([]ParameterValue, error) {
	return ask[ParameterValue](ctx, db, parameterInsightsSQL, w.arguments())
}

// UserActivity is how long a user was active.
type UserActivity struct {
	User      uuid.UUID
	Username  string
	AvatarURL string
	Templates []uuid.UUID
	Seconds   int64
}

// UserActivity answers for each user.
func (db *DB) UserActivity(ctx context.Context, w Window) ([]UserActivity, error) {
	return ask[UserActivity](ctx, db, userActivitySQL, w.arguments())
}

// UserLatency is how quick a user's connections were.
type UserLatency struct {
	User      uuid.UUID
	Username  string
	AvatarURL string
	Templates []uuid.UUID
	P50, P95  float64 // of the medians of half hours
}

// UserLatency answers for each user.
func (db *DB) UserLatency(ctx context.Context, w Window) ([]UserLatency, error) {
	return ask[UserLatency](ctx, db, userLatencySQL, w.arguments())
}

// Calibrate runs a statement that says how quick this machine is with the half hours of a window.
func (db *DB) Calibrate(ctx context.Context, w Window) error {
	_, err := db.conn.Exec(ctx, calibrationSQL, w.Start, w.End)
	return err
}

// ask collects the rows of an answer, whose columns are the fields of R in their order.
func ask[R any](ctx context.Context, db *DB, statement string, arguments []any) ([]R, error) {
	rows, err := db.conn.Query(ctx, statement, arguments...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[R])
}

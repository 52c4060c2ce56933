package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// client asks the service over REST about the month.
type client struct {
	server *serverProcess
	token  string
	params url.Values
}

func newClient(p *serverProcess, token string) *client {
	return &client{p, token, url.Values{"start_time": {windowStart().Format(time.RFC3339)}, "end_time": {today().Format(time.RFC3339)}}}
}

// perDay asks for nothing but users per day.
var perDay = url.Values{"interval": {"day"}, "sections": {"interval_reports"}}

// with returns a client that sends further parameters.
func (c *client) with(params url.Values) *client {
	with := *c
	with.params = maps.Clone(c.params)
	maps.Copy(with.params, params)
	return &with
}

// get asks and returns the body of the answer.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.server.HTTP+path+"?"+c.params.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Coder-Session-Token", c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
	return body, err
}

// asking is a question about a path whose body a function turns into an answer.
func (c *client) asking(path string, read func(body []byte) (answer, error)) ask {
	return func(ctx context.Context) (func() (answer, error), error) {
		body, err := c.get(ctx, path)
		return func() (answer, error) { return read(body) }, err
	}
}

// The paths of the questions.
const (
	insightsPath = "/api/v2/insights/templates"
	activityPath = "/api/v2/insights/user-activity"
	latencyPath  = "/api/v2/insights/user-latency"
)

// templateInsights is the part of the body that is compared.
type templateInsights struct {
	Report struct {
		TemplateIDs []uuid.UUID `json:"template_ids"`
		ActiveUsers float64     `json:"active_users"`
		AppsUsage   []struct {
			TemplateIDs []uuid.UUID `json:"template_ids"`
			Type        string
			Slug        string
			Seconds     float64
			TimesUsed   float64 `json:"times_used"`
		} `json:"apps_usage"`
		ParametersUsage []struct {
			TemplateIDs []uuid.UUID `json:"template_ids"`
			Name        string
			Values      []struct {
				Value string
				Count float64
			}
		} `json:"parameters_usage"`
	}
	IntervalReports []struct {
		StartTime   string      `json:"start_time"`
		TemplateIDs []uuid.UUID `json:"template_ids"`
		ActiveUsers float64     `json:"active_users"`
	} `json:"interval_reports"`
}

// readInsights reads template insights and picks what a question is about.
func readInsights(pick func(templateInsights, answer)) func([]byte) (answer, error) {
	return func(body []byte) (answer, error) {
		var t templateInsights
		a := answer{}
		if err := json.Unmarshal(body, &t); err != nil {
			return nil, err
		}
		pick(t, a)
		return a, nil
	}
}

func pickBuiltin(t templateInsights, a answer) {
	a.add("users", t.Report.TemplateIDs, t.Report.ActiveUsers)
	for _, app := range t.Report.AppsUsage {
		if app.Type == "builtin" {
			a.add(app.Slug, app.TemplateIDs, app.Seconds)
		}
	}
}

func pickApps(t templateInsights, a answer) {
	for _, app := range t.Report.AppsUsage {
		if app.Type == "app" {
			a.add(app.Slug, app.TemplateIDs, app.Seconds, app.TimesUsed)
		}
	}
}

func pickParameters(t templateInsights, a answer) {
	for _, p := range t.Report.ParametersUsage {
		a.add(p.Name, p.TemplateIDs)
		for _, v := range p.Values {
			a.add(p.Name+"="+v.Value, nil, v.Count)
		}
	}
}

func pickDays(t templateInsights, a answer) {
	for _, i := range t.IntervalReports {
		a.add(i.StartTime, i.TemplateIDs, i.ActiveUsers)
	}
}

// people is the part of a list of users that is compared.
type people struct {
	Report struct {
		Users []struct {
			UserID      uuid.UUID   `json:"user_id"`
			TemplateIDs []uuid.UUID `json:"template_ids"`
			Seconds     float64
			LatencyMS   struct{ P50, P95 float64 } `json:"latency_ms"`
		}
	}
}

func readActivity(body []byte) (answer, error) {
	var p people
	a := answer{}
	err := json.Unmarshal(body, &p)
	for _, u := range p.Report.Users {
		a.add(u.UserID.String(), u.TemplateIDs, u.Seconds)
	}
	return a, err
}

func readLatency(body []byte) (answer, error) {
	var p people
	a := answer{}
	err := json.Unmarshal(body, &p)
	for _, u := range p.Report.Users {
		a.add(u.UserID.String(), nil, u.LatencyMS.P50, u.LatencyMS.P95)
	}
	return a, err
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// remoteFlags say which server a command asks, and what about. The token never stands on the command line, where every process
// of the machine can read it.
type remoteFlags struct {
	Address    string   `default:"http://127.0.0.1:8080" env:"INSIGHTS_ADDRESS" placeholder:"URL" help:"Where the server answers REST. Default: ${default}."`
	TokenFile  string   `env:"INSIGHTS_TOKEN_FILE" placeholder:"FILE" help:"A file with the token to ask with. Default: the token in the environment variable INSIGHTS_TOKEN."`
	Last       lastDays `placeholder:"DAYS" help:"Ask about the last days, today included, such as 7d or 4w, at most 366d."`
	Parameters []string `arg:"" optional:"" placeholder:"NAME=VALUE" help:"Parameters of the question as REST takes them, such as timezone=Europe/Berlin or template_ids=ID,ID."`
}

// tokenVariable holds the token of who asks a server.
const tokenVariable = "INSIGHTS_TOKEN"

// maxWait is how long an answer may take, with all that belongs to it.
const maxWait = 3 * time.Minute

// query are the parameters of the question.
func (f remoteFlags) query() (url.Values, error) {
	query := url.Values{}
	for _, p := range f.Parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || query.Has(name) {
			return nil, usageError(fmt.Sprintf("%s: want NAME=VALUE, each name once", p))
		}
		query.Set(name, value)
	}
	if f.Last == 0 {
		return query, nil
	}
	if query.Has("start_time") || query.Has("end_time") {
		return nil, usageError("--last says what start_time and end_time would: choose one")
	}
	zone, err := zoneOf(query)
	if err != nil {
		return nil, err
	}
	now := time.Now().In(zone)
	setWindow(query, midnight(now, int(f.Last)-1), time.Date(now.Year(), now.Month(), now.Day(), now.Hour()+1, 0, 0, 0, zone))
	return query, nil
}

// lastDays is how many days a question is about. 0 is as if the flag were not there.
type lastDays int

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *lastDays) UnmarshalText(text []byte) error {
	number, unit := string(text), 0
	for suffix, days := range map[string]int{"d": 1, "w": 7} {
		if n, ok := strings.CutSuffix(string(text), suffix); ok {
			number, unit = n, days
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || unit == 0 || n < 1 || n > 366/unit {
		return fmt.Errorf("%q must be 1d to 366d or 1w to 52w", text)
	}
	*d = lastDays(n * unit)
	return nil
}

// zoneOf is the time zone whose days a question is about: that of its parameter, or that of this machine.
func zoneOf(query url.Values) (*time.Location, error) {
	name := query.Get("timezone")
	if name == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, usageError(fmt.Sprintf("timezone=%s: want the IANA name of a time zone", name))
	}
	return zone, nil
}

// midnight is when the day began that was so many days ago.
func midnight(now time.Time, ago int) time.Time {
	return time.Date(now.Year(), now.Month(), now.Day()-ago, 0, 0, 0, 0, now.Location())
}

func setWindow(query url.Values, start, end time.Time) {
	query.Set("start_time", start.Format(time.RFC3339))
	query.Set("end_time", end.Format(time.RFC3339))
}

// token is what the command asks with.
func (f remoteFlags) token(c console) (string, error) {
	if f.TokenFile != "" {
		return readSecret("--token-file", f.TokenFile)
	}
	for _, variable := range c.environment {
		if name, value, _ := strings.Cut(variable, "="); name == tokenVariable && value != "" {
			return value, nil
		}
	}
	return "", usageError("set the environment variable " + tokenVariable + " or --token-file: the server answers those who may ask")
}

// ask asks the server. The caller closes what comes back.
func (f remoteFlags) ask(ctx context.Context, c console, path string, query url.Values) (io.ReadCloser, error) {
	if at, err := url.Parse(f.Address); err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return nil, usageError(fmt.Sprintf("--address: %q must be a URL, an IPv6 host in brackets, such as http://[::1]:8080", f.Address))
	}
	token, err := f.token(c)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(f.Address, "/")+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, usageError(fmt.Sprintf("--address: %v", err))
	}
	req.Header.Set("Authorization", "Bearer "+token)
	// the token is for this address
	client := http.Client{Timeout: maxWait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for attempt := 1; ; attempt++ {
		resp, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("ask the server: %w", err)
		}
		if resp.StatusCode == http.StatusOK {
			return resp.Body, nil
		}
		err = errors.Join(refusal(resp), resp.Body.Close())
		if resp.StatusCode != http.StatusServiceUnavailable || attempt == maxAttempts {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(time.Duration(attempt) * time.Second):
		}
	}
}

// maxAttempts is how often a server is asked that cannot answer right now.
const maxAttempts = 4

// refusedError is what a server says that does not answer a question.
type refusedError struct {
	status string
	body   *insightsv1.Error
}

func (e refusedError) Error() string {
	said := []string{e.body.GetMessage()}
	if e.body.GetDetail() != "" {
		said = append(said, e.body.GetDetail())
	}
	for _, v := range e.body.GetValidations() {
		said = append(said, v.GetDetail())
	}
	return fmt.Sprintf("the server answers %s: %s", e.status, strings.Join(said, " "))
}

// refusal is an answer that is none, with what the server says about it.
func refusal(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	body := &insightsv1.Error{}
	if err != nil || protojson.Unmarshal(text, body) != nil {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return refusedError{resp.Status, body}
}

// answer asks, and reads the whole answer.
func (f remoteFlags) answer(ctx context.Context, c console, path string, query url.Values) ([]byte, error) {
	body, err := f.ask(ctx, c, path, query)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return text, nil
}

// print prints an answer as it comes.
func (f remoteFlags) print(ctx context.Context, c console, w io.Writer, path string, query url.Values) error {
	text, err := f.answer(ctx, c, path, query)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", bytes.TrimSuffix(text, []byte("\n")))
	return err
}

// export asks for a table and writes it as a file.
func (f remoteFlags) export(ctx context.Context, c console, table, format, output string, query url.Values) (err error) {
	query.Set("format", format)
	rows, err := f.ask(ctx, c, "/api/v2/insights/export/"+table, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	p := c.progress("export", 0)
	defer p.end()
	return writeOutput(c, output, func(w io.Writer) error {
		if _, err := io.Copy(io.MultiWriter(w, p), rows); err != nil {
			return fmt.Errorf("copy the export: %w", err)
		}
		return nil
	})
}

// askFor asks for an answer that is a message.
func (f remoteFlags) askFor(ctx context.Context, c console, path string, query url.Values, answer proto.Message) error {
	text, err := f.answer(ctx, c, path, query)
	if err != nil {
		return err
	}
	// A newer server may say more.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/template-insights/insights/store"
)

// Bounds of questions about sessions of Coder.
const (
	coderSessionTTL = 3 * time.Second // that an answer counts; with authenticationTTL less than the five seconds within which who is out is out
	coderTimeout    = 5 * time.Second
	maxCoderCalls   = 32       // at a time
	maxCoderUser    = 64 << 10 // bytes of an answer
	maxCoderAnswers = 10_000   // that are remembered
)

// coderSessions asks a Coder deployment whose the tokens of its sessions are.
type coderSessions struct {
	me     string // URL that answers who one is
	clock  func() time.Time
	client *http.Client
	calls  chan struct{} // has room for those that may run
	asking singleflight.Group

	mu      sync.Mutex
	answers map[[32]byte]coderAnswer // by the hash of the token
}

// coderAnswer is whose a session is, until it is asked about again; the nil UUID: nobody's.
type coderAnswer struct {
	user  uuid.UUID
	until time.Time
}

// checkCoderURL refuses a URL that would show tokens to whoever listens, or that is none.
func checkCoderURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("server needs a Coder URL of scheme, host and path alone")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return fmt.Errorf("the URL %q of Coder must be https", text)
	}
	return nil
}

func newCoderSessions(text string, clock func() time.Time) *coderSessions {
	me, _ := url.JoinPath(text, "api/v2/users/me") // it was checked
	return &coderSessions{
		me: me, clock: clock, calls: make(chan struct{}, maxCoderCalls), answers: map[[32]byte]coderAnswer{},
		// A redirect would take the token elsewhere.
		client: &http.Client{Timeout: coderTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// coderSession is the form of tokens of sessions: an id and a secret.
var coderSession = regexp.MustCompile(`^[a-zA-Z0-9]{10}-[a-zA-Z0-9]{22}$`)

// isCoderSession is whether a credential has the form of the token of a session of Coder.
func isCoderSession(text string) bool { return coderSession.MatchString(text) }

// verify returns the user whose session it is, and until when that is believed. What the deployment does not know is
// store.ErrUnauthenticated. Calls with the same token wait for one answer.
func (c *coderSessions) verify(ctx context.Context, shown credential) (user uuid.UUID, until time.Time, err error) {
	hash := shown.hash()
	c.mu.Lock()
	known := c.answers[hash]
	c.mu.Unlock()
	if !time.Now().Before(known.until) {
		answered := c.asking.DoChan(string(hash[:]), func() (any, error) {
			// It is not only for the first who asks.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), coderTimeout)
			defer cancel()
			id, err := c.ask(ctx, string(shown.session))
			if err == nil {
				c.remember(hash, id)
			}
			return id, err
		})
		select {
		case <-ctx.Done():
			return uuid.Nil, until, ctx.Err()
		case answer := <-answered:
			if answer.Err != nil {
				return uuid.Nil, until, answer.Err
			}
			known.user, _ = answer.Val.(uuid.UUID)
		}
	}
	if known.user == uuid.Nil {
		return uuid.Nil, until, store.ErrUnauthenticated
	}
	return known.user, c.clock().Add(coderSessionTTL), nil
}

// remember keeps an answer for a short time.
func (c *coderSessions) remember(hash [32]byte, user uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) >= maxCoderAnswers {
		clear(c.answers)
	}
	c.answers[hash] = coderAnswer{user, time.Now().Add(coderSessionTTL)}
}

// ask asks the deployment; the nil UUID is nobody.
func (c *coderSessions) ask(ctx context.Context, token string) (uuid.UUID, error) {
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	case <-ctx.Done():
		return uuid.Nil, unavailable(errors.New("too many questions to Coder about sessions"))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.me, nil)
	if err != nil {
		return uuid.Nil, err
	}
	request.Header.Set("Coder-Session-Token", token)
	answer, err := c.client.Do(request)
	if err != nil {
		return uuid.Nil, unavailable(fmt.Errorf("ask Coder about a session: %w", err))
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return uuid.Nil, nil
	default:
		return uuid.Nil, unavailable(fmt.Errorf("ask Coder about a session: status %d", answer.StatusCode))
	}
	var user struct{ ID, Status string }
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxCoderUser)).Decode(&user); err != nil {
		return uuid.Nil, unavailable(fmt.Errorf("read who has a session of Coder: %w", err))
	}
	id, err := parseID(user.ID)
	if err != nil {
		return uuid.Nil, unavailable(fmt.Errorf("read who has a session of Coder: id: %w", err))
	}
	if user.Status == "suspended" {
		return uuid.Nil, nil
	}
	return id, nil
}

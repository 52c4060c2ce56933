package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/metadata"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// Bounds of questions about session keys of Coder.
const (
	CoderTTL        = 5 * time.Second // that an answer counts from the moment of the question: who is out is out after that
	CoderTimeout    = 5 * time.Second // of one call, and of all that one question needs to know of its key
	MaxCoderCalls   = 32              // at a time
	MaxCoderAnswer  = 64 << 10        // bytes
	maxCoderKeys    = 10_000          // of which it is remembered whose they are, and whether they are limited
	maxCoderRights  = 200_000         // answers about rights of keys that are remembered
	coderPathOfUser = "api/v2/users/me"
)

// coderSessions asks a Coder deployment whose its session keys are and what they may.
type coderSessions struct {
	base   string
	clock  func() time.Time
	client *http.Client
	calls  chan struct{} // has room for those that may run
	asking singleflight.Group

	users  *lru.Cache[keyHash, coderAnswer[uuid.UUID]] // the nil UUID: nobody
	whole  *lru.Cache[keyHash, coderAnswer[bool]]      // whether the key is not limited
	rights *lru.Cache[keyRight, coderAnswer[bool]]
}

// keyHash stands for a session key, which is nowhere kept.
type keyHash [32]byte

// coderAnswer is what Coder said and until when it counts. The real clock measures that: what is asked lies outside.
type coderAnswer[V any] struct {
	value V
	until time.Time
}

// remembered is the answer that a cache holds, if it counts until some time.
func remembered[K comparable, V any](cache *lru.Cache[K, coderAnswer[V]], key K, until time.Time) (answer coderAnswer[V], ok bool) {
	answer, ok = cache.Get(key)
	return answer, ok && until.Before(answer.until)
}

// checkCoderURL refuses a URL that would show session keys to whoever listens, or that is none.
func checkCoderURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("server needs a Coder URL of scheme, host and path alone, an IPv6 host in brackets")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return fmt.Errorf("the URL %q of Coder must be https", text)
	}
	return nil
}

func newCoderSessions(text string, clock func() time.Time) *coderSessions {
	return &coderSessions{
		base: text, clock: clock, calls: make(chan struct{}, MaxCoderCalls),
		// A redirect would take the key elsewhere.
		client: &http.Client{
			Timeout: CoderTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		users:  newLRU[keyHash, coderAnswer[uuid.UUID]](maxCoderKeys),
		whole:  newLRU[keyHash, coderAnswer[bool]](maxCoderKeys),
		rights: newLRU[keyRight, coderAnswer[bool]](maxCoderRights),
	}
}

// coderSession is the form of session keys: an id and a secret.
var coderSession = regexp.MustCompile(`^[a-zA-Z0-9]{10}-[a-zA-Z0-9]{22}$`)

// isCoderSession reports whether a credential has the form of a session key of Coder.
func isCoderSession(text string) bool { return coderSession.MatchString(text) }

// CoderSessionIn returns the credential of that form which the headers of a call hold; empty: they hold none.
func CoderSessionIn(headers metadata.MD) string {
	for _, name := range CredentialHeaders {
		for _, value := range headers.Get(name) {
			if _, token, found := strings.Cut(value, " "); found { // behind its scheme
				value = token
			}
			if isCoderSession(value) {
				return value
			}
		}
	}
	return ""
}

// verify returns the user whose session key it is and for how long that counts; Coder is asked unless what is remembered counts
// until some time. A key that Coder does not know is store.ErrUnauthenticated. Calls with the same key wait for one answer.
func (c *coderSessions) verify(
	ctx context.Context, key secretText, hash keyHash, until time.Time,
) (user uuid.UUID, left time.Duration, err error) {
	known, err := shareCoder(ctx, c, "user "+string(hash[:]), func() (coderAnswer[uuid.UUID], bool) {
		return remembered(c.users, hash, until)
	}, func(ctx context.Context) (coderAnswer[uuid.UUID], error) {
		asked := time.Now()
		id, err := c.askUser(ctx, key)
		answer := coderAnswer[uuid.UUID]{id, asked.Add(CoderTTL)}
		if err == nil {
			c.users.Add(hash, answer)
		}
		return answer, err
	})
	switch {
	case err != nil:
		return uuid.Nil, 0, err
	case known.value == uuid.Nil:
		return uuid.Nil, 0, store.ErrUnauthenticated
	}
	return known.value, time.Until(known.until), nil
}

// shareCoder returns what is known, or asks Coder. Those who want the same answer at the same time share one call, which does not
// end with the call of the first of them. Whoever waits longer than Coder may take is told to come again.
func shareCoder[V any](
	ctx context.Context, c *coderSessions, what string, known func() (V, bool), ask func(ctx context.Context) (V, error),
) (answer V, err error) {
	if answer, ok := known(); ok {
		return answer, nil
	}
	if err := ctx.Err(); err != nil {
		return answer, err // nobody would wait for it
	}
	answered := c.asking.DoChan(what, func() (any, error) {
		if answer, ok := known(); ok { // a call that ended a moment ago brought it
			return answer, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CoderTimeout)
		defer cancel()
		return ask(ctx)
	})
	select {
	case <-ctx.Done():
		return answer, ctx.Err()
	case a := <-answered:
		if a.Err != nil {
			return answer, a.Err
		}
		return a.Val.(V), nil
	}
}

// askUser asks whose a key is; the nil UUID is nobody: a key that Coder does not know, that may not even read its own user,
// or whose user is suspended.
func (c *coderSessions) askUser(ctx context.Context, key secretText) (uuid.UUID, error) {
	status, body, err := c.call(ctx, key, http.MethodGet, coderPathOfUser, nil)
	switch {
	case err != nil:
		return uuid.Nil, err
	case status != http.StatusOK:
		return uuid.Nil, nil
	}
	fields, err := readObject(body)
	var text, state string
	if err == nil {
		err = errors.Join(fields.read("id", &text), fields.read("status", &state))
	}
	var id uuid.UUID
	if err == nil {
		id, err = call.ParseID(text)
	}
	switch {
	case err != nil:
		return uuid.Nil, call.Unavailable(fmt.Errorf("read whose a session key of Coder is: %w", err))
	case strings.EqualFold(state, "suspended"):
		return uuid.Nil, nil
	}
	return id, nil
}

// object is a JSON object, field by field.
type object map[string]json.RawMessage

// readObject reads a JSON object. Two fields whose names differ in case alone are an error: which of them counts is nobody's
// guess.
func readObject(text []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.Join(errors.New("want an object"), err)
	}
	fields, seen := object{}, map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		text, _ := name.(string) // names are texts
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		folded := strings.ToUpper(text)
		if seen[folded] {
			return nil, fmt.Errorf("two fields %q", call.Shorten(text))
		}
		seen[folded] = true
		fields[text] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one object")
	}
	return fields, nil
}

// read reads a field, which may be absent but not null.
func (o object) read(name string, to any) error {
	value, found := o[name]
	if !found {
		return nil
	}
	if string(value) == "null" {
		return fmt.Errorf("%s is null", name)
	}
	if err := json.Unmarshal(value, to); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// call asks Coder with a session key and returns the answer: OK, or that it refuses to answer (401, 403, 404). Everything
// else says nothing about the key: that Coder is slow, away, busy, or sends callers elsewhere is unavailable.
func (c *coderSessions) call(ctx context.Context, key secretText, method, path string, body []byte) (status int, answer []byte, err error) {
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	case <-ctx.Done():
		return 0, nil, call.Unavailable(errors.New("too many questions to Coder about session keys"))
	}
	address, err := url.JoinPath(c.base, path)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Coder-Session-Token", string(key))
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, nil, call.Unavailable(fmt.Errorf("ask Coder about a session key: %w", err))
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return response.StatusCode, nil, nil
	default:
		return 0, nil, call.Unavailable(fmt.Errorf("ask Coder about a session key: status %d", response.StatusCode))
	}
	if answer, err = io.ReadAll(io.LimitReader(response.Body, MaxCoderAnswer)); err != nil {
		return 0, nil, call.Unavailable(fmt.Errorf("read what Coder says about a session key: %w", err))
	}
	return response.StatusCode, answer, nil
}

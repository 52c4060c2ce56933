package guard

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Bounds of what one question asks Coder about the rights of its key.
const (
	MaxRightsPerCall = 100
	MaxRightsCalls   = 20 // a question
	RightsAtOnce     = 4  // calls of one question
)

// coderKey is the session key of Coder that a caller shows. It has no more rights than Coder gives it.
type coderKey struct {
	sessions *coderSessions
	secret   secretText
	hash     keyHash
	user     uuid.UUID // whose it is in Coder
}

// keyRight is the right of a key to see insights: of a template in an organization, of all templates of an organization if it
// names no template, of everything if it names neither. Of a template that the catalog does not hold the organization is
// missing.
type keyRight struct {
	key                    keyHash
	organization, template uuid.UUID
}

// limits are those of the key; without a key there are none.
func (k *coderKey) limits() *call.KeyLimits {
	if k == nil {
		return nil
	}
	return &call.KeyLimits{Whole: k.whole, Everything: k.everything, Within: k.within}
}

// whole asks whether Coder says that the key is not limited. A key that may not read what it may is limited.
func (k *coderKey) whole(ctx context.Context) (bool, error) {
	known := func() (bool, bool) {
		answer, ok := remembered(k.sessions.whole, k.hash, time.Now())
		return answer.value, ok
	}
	return shareCoder(ctx, k.sessions, "key "+string(k.hash[:]), known, func(ctx context.Context) (bool, error) {
		asked := time.Now()
		id, _, _ := strings.Cut(string(k.secret), "-")
		status, body, err := k.sessions.call(ctx, k.secret, http.MethodGet, coderPathOfUser+"/keys/"+url.PathEscape(id), nil)
		if err != nil {
			return false, err
		}
		whole := status == http.StatusOK && isWholeKey(body, id, k.user)
		k.sessions.whole.Add(k.hash, coderAnswer[bool]{whole, asked.Add(CoderTTL)})
		return whole, nil
	})
}

// isWholeKey reports whether Coder's description of a key says that it is this key and that nothing limits it: releases before
// lists of scopes have one scope, and no list of what is allowed.
func isWholeKey(body []byte, id string, user uuid.UUID) bool {
	fields, err := readObject(body)
	if err != nil {
		return false
	}
	var key, scope string
	var owner uuid.UUID
	var scopes, allowed []string
	err = errors.Join(
		fields.read("id", &key), fields.read("user_id", &owner), fields.read("scope", &scope), fields.read("scopes", &scopes),
		fields.read("allow_list", &allowed),
	)
	if err != nil || key != id || owner != user {
		return false
	}
	if _, listed := fields["scopes"]; !listed || scope != "" {
		scopes = append(scopes, scope)
	}
	limits := func(scope string) bool { return scope != "all" && scope != "coder:all" }
	if len(scopes) == 0 || slices.ContainsFunc(scopes, limits) {
		return false
	}
	narrows := func(target string) bool { return target != "*:*" }
	_, listed := fields["allow_list"]
	return !listed || len(allowed) > 0 && !slices.ContainsFunc(allowed, narrows)
}

// everything asks whether the key may see all that there is.
func (k *coderKey) everything(ctx context.Context) (bool, error) {
	asking, cancel := context.WithTimeout(ctx, CoderTimeout)
	defer cancel()
	allowed, err := k.askOnce(asking, []keyRight{{key: k.hash}})
	return len(allowed) > 0, patience(ctx, err)
}

// within returns what the key may see of a scope; organizationOf holds the organizations of the templates of the scope, as far
// as the catalog knows them. Of templates that the caller named the key must be allowed each; otherwise what it is not
// allowed is left out. Nothing left is access.ErrNotFound.
func (k *coderKey) within(
	ctx context.Context, scope access.Scope, named bool, organizationOf map[uuid.UUID]uuid.UUID,
) (access.Scope, error) {
	asking, cancel := context.WithTimeout(ctx, CoderTimeout)
	defer cancel()
	if named {
		scope, err := k.allNamed(asking, scope, organizationOf)
		return scope, patience(ctx, err)
	}
	scope, err := k.allVisible(asking, scope, organizationOf)
	return scope, patience(ctx, err)
}

// patience tells a caller who could wait longer than Coder may take to come again.
func patience(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return call.Unavailable(fmt.Errorf("ask Coder about the rights of a session key: %w", err))
	}
	return err
}

func (k *coderKey) allNamed(ctx context.Context, scope access.Scope, organizationOf map[uuid.UUID]uuid.UUID) (access.Scope, error) {
	var rights []keyRight
	for _, template := range scope.Templates() {
		rights = append(rights, keyRight{k.hash, organizationOf[template], template})
	}
	if callsFor(rights) > MaxRightsCalls {
		return access.Scope{}, tooManyTemplates()
	}
	allowed, err := k.ask(ctx, rights)
	if err == nil && len(allowed) < len(rights) {
		err = access.ErrNotFound
	}
	return scope, err
}

// allVisible asks about everything together with the organizations, because most keys may see all of one of them, and only
// then about single templates.
func (k *coderKey) allVisible(ctx context.Context, scope access.Scope, organizationOf map[uuid.UUID]uuid.UUID) (access.Scope, error) {
	everything := keyRight{key: k.hash}
	rights := []keyRight{everything}
	for _, organization := range organizationOf {
		rights = append(rights, keyRight{key: k.hash, organization: organization})
	}
	rights = sortedRights(rights)
	first := rights[:min(len(rights), MaxRightsPerCall)] // begins with everything
	allowed, err := k.ask(ctx, first)
	if err != nil || allowed[everything] {
		return scope, err
	}
	calls := 1 + callsFor(rights[len(first):])
	if calls > MaxRightsCalls {
		return access.Scope{}, tooManyTemplates()
	}
	more, err := k.ask(ctx, rights[len(first):])
	if err != nil {
		return access.Scope{}, err
	}
	var single []keyRight
	var templates []uuid.UUID
	for template, organization := range organizationOf {
		if whole := (keyRight{key: k.hash, organization: organization}); allowed[whole] || more[whole] {
			templates = append(templates, template)
		} else {
			single = append(single, keyRight{k.hash, organization, template})
		}
	}
	if calls+callsFor(single) > MaxRightsCalls {
		return access.Scope{}, tooManyTemplates()
	}
	some, err := k.ask(ctx, sortedRights(single))
	if err != nil {
		return access.Scope{}, err
	}
	for right := range some {
		templates = append(templates, right.template)
	}
	return scope.Within(templates)
}

// sortedRights puts rights in one order, each once, so that those who ask at the same time ask the same.
func sortedRights(rights []keyRight) []keyRight {
	slices.SortFunc(rights, func(a, b keyRight) int {
		if a.organization != b.organization {
			return strings.Compare(string(a.organization[:]), string(b.organization[:]))
		}
		return strings.Compare(string(a.template[:]), string(b.template[:]))
	})
	return slices.Compact(rights)
}

// callsFor is how many calls it takes to ask about rights.
func callsFor(rights []keyRight) int { return (len(rights) + MaxRightsPerCall - 1) / MaxRightsPerCall }

// tooManyTemplates is the error for a question about more templates than Coder may be asked about at once.
func tooManyTemplates() error {
	return call.InvalidDetail("There are too many templates to ask Coder what this session key may see: name templates.",
		fmt.Sprintf("A question asks Coder at most %d times about %d of them.", MaxRightsCalls, MaxRightsPerCall),
		call.FieldError{Field: "template_ids", Detail: fmt.Sprintf("name templates, at most %d", MaxRightsCalls*MaxRightsPerCall)})
}

// ask returns those of the rights that the key has.
func (k *coderKey) ask(ctx context.Context, rights []keyRight) (map[keyRight]bool, error) {
	chunks := slices.Collect(slices.Chunk(rights, MaxRightsPerCall))
	answers := make([][]keyRight, len(chunks))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(RightsAtOnce)
	for i, chunk := range chunks {
		asking.Go(func() (err error) {
			answers[i], err = k.askOnce(ctx, chunk)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	allowed := map[keyRight]bool{}
	for _, right := range slices.Concat(answers...) {
		allowed[right] = true
	}
	return allowed, nil
}

// askOnce asks about rights with one call, or none if all answers are remembered, and returns those that the key has.
func (k *coderKey) askOnce(ctx context.Context, rights []keyRight) (allowed []keyRight, err error) {
	allowed, unknown := k.known(rights)
	digest := sha256.New()
	for _, right := range unknown {
		digest.Write(slices.Concat(right.key[:], right.organization[:], right.template[:]))
	}
	more, err := shareCoder(ctx, k.sessions, "rights "+string(digest.Sum(nil)), func() ([]keyRight, bool) {
		more, still := k.known(unknown)
		return more, len(still) == 0
	}, func(ctx context.Context) ([]keyRight, error) {
		return k.call(ctx, unknown)
	})
	return slices.Concat(allowed, more), err
}

// known parts rights into those that the key has, as far as answers are remembered, and those of which none is.
func (k *coderKey) known(rights []keyRight) (allowed, unknown []keyRight) {
	for _, right := range rights {
		answer, ok := remembered(k.sessions.rights, right, time.Now())
		switch {
		case !ok:
			unknown = append(unknown, right)
		case answer.value:
			allowed = append(allowed, right)
		}
	}
	return allowed, unknown
}

// AuthCheck is one question of Coder's check of rights, in its names.
type AuthCheck struct {
	Object struct {
		ResourceType   string `json:"resource_type"`
		ResourceID     string `json:"resource_id,omitempty"`
		OrganizationID string `json:"organization_id,omitempty"`
	} `json:"object"`
	Action string `json:"action"`
}

// call asks Coder which of the rights the key has, and remembers the answers. A key that Coder no longer knows is
// store.ErrUnauthenticated; one that may not ask has none of them.
func (k *coderKey) call(ctx context.Context, rights []keyRight) (allowed []keyRight, err error) {
	checks := map[string]AuthCheck{}
	for i, right := range rights {
		check := AuthCheck{Action: string(access.ViewInsights)}
		check.Object.ResourceType = "template"
		check.Object.ResourceID, check.Object.OrganizationID = call.OptionalID(right.template), call.OptionalID(right.organization)
		checks[strconv.Itoa(i)] = check
	}
	body, err := json.Marshal(map[string]any{"checks": checks})
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	status, answer, err := k.sessions.call(ctx, k.secret, http.MethodPost, "api/v2/authcheck", body)
	if err != nil {
		return nil, err
	}
	var has object
	switch status {
	case http.StatusUnauthorized:
		return nil, store.ErrUnauthenticated
	case http.StatusOK:
		has, err = readObject(answer)
	}
	may := make([]bool, len(rights))
	for i := range rights {
		err = errors.Join(err, has.read(strconv.Itoa(i), &may[i]))
	}
	if err != nil {
		return nil, call.Unavailable(fmt.Errorf("read what Coder says about the rights of a session key: %w", err))
	}
	for i, right := range rights {
		may := may[i]
		k.sessions.rights.Add(right, coderAnswer[bool]{may, asked.Add(CoderTTL)})
		if may {
			allowed = append(allowed, right)
		}
	}
	return allowed, nil
}

package admin

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

const (
	catalogTimeout = 10 * time.Minute // of one change of the catalog
	catalogChanges = 2                // at a time: what agents report needs connections as well
)

// Catalog is the CatalogService.
type Catalog struct {
	insightsv1.UnimplementedCatalogServiceServer

	store    *store.Store
	applying singleflight.Group  // changes, by caller and content
	room     *semaphore.Weighted // for changes
}

// NewCatalog is the CatalogService.
func NewCatalog(s *store.Store) *Catalog {
	return &Catalog{store: s, room: semaphore.NewWeighted(catalogChanges)}
}

// ApplyCatalog implements [insightsv1.CatalogServiceServer]. A change that has begun goes on when the deadline of its caller has passed,
// and a caller who sends it again meanwhile gets the answer to the first: so no deadline makes a large change impossible.
func (s *Catalog) ApplyCatalog(ctx context.Context, req *insightsv1.ApplyCatalogRequest) (*insightsv1.ApplyCatalogResponse, error) {
	caller := call.PrincipalOf(ctx)
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, err
	}
	answer, err, _ := s.applying.Do(fmt.Sprintf("%x of %v", sha256.Sum256(content), caller), func() (any, error) {
		if err := s.room.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer s.room.Release(1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), catalogTimeout)
		defer cancel()
		return s.apply(ctx, caller, req)
	})
	if err != nil {
		return nil, err
	}
	return answer.(*insightsv1.ApplyCatalogResponse), nil
}

func (s *Catalog) apply(
	ctx context.Context, caller access.Principal, req *insightsv1.ApplyCatalogRequest,
) (*insightsv1.ApplyCatalogResponse, error) {
	change := parseCatalog(req)
	refusals, err := s.store.ApplyCatalog(ctx, change.catalog, store.Authority{
		Organization: func(id uuid.UUID) bool { return caller.HoldsIn(access.ApplyCatalog, id) },
		ManageAccess: caller.HoldsEverywhere(access.ManageAccess),
	})
	if err != nil {
		return nil, err
	}
	for _, r := range refusals {
		change.reject(r.List, change.places[r.List][r.Index], r.Reason, r.Permanent)
	}
	return &insightsv1.ApplyCatalogResponse{
		Acknowledged: uint32(change.items - len(change.rejected)), Rejected: change.rejected,
	}, nil
}

// catalogChange is a request in the store's terms. Items that break a rule are rejected and left out.
type catalogChange struct {
	catalog  store.Catalog
	items    int              // of the request
	places   map[string][]int // by list: where the request has the items that are in the catalog
	rejected []*insightsv1.Rejection
}

func (c *catalogChange) reject(list string, index int, reason string, permanent bool) {
	c.rejected = append(c.rejected, &insightsv1.Rejection{List: list, Index: uint32(index), Reason: reason, Permanent: permanent})
}

func parseCatalog(req *insightsv1.ApplyCatalogRequest) *catalogChange {
	c := &catalogChange{places: map[string][]int{}}
	deleted := req.GetDeleted()
	c.catalog = store.Catalog{
		Organizations: parseList(c, "organizations", req.GetOrganizations(), parseOrganization),
		Templates:     parseList(c, "templates", req.GetTemplates(), parseTemplate),
		Versions:      parseList(c, "template_versions", req.GetTemplateVersions(), parseVersion),
		Users:         parseList(c, "users", req.GetUsers(), parseUser),
		Groups:        parseList(c, "groups", req.GetGroups(), parseGroup),
		Workspaces:    parseList(c, "workspaces", req.GetWorkspaces(), parseWorkspace),
		Agents:        parseList(c, "agents", req.GetAgents(), parseAgent),
		Apps:          parseList(c, "apps", req.GetApps(), parseApp),
		Deleted: store.Deleted{
			Templates:  parseList(c, "deleted.templates", deleted.GetTemplates(), parseDeleted),
			Users:      parseList(c, "deleted.users", deleted.GetUsers(), parseDeleted),
			Workspaces: parseList(c, "deleted.workspaces", deleted.GetWorkspaces(), parseDeleted),
			Agents:     parseList(c, "deleted.agents", deleted.GetAgents(), parseDeleted),
			Groups:     parseList(c, "deleted.groups", deleted.GetGroups(), parseDeleted),
		},
	}
	return c
}

// parseList reads the items of one list and notes where the good ones stand.
func parseList[M, T any](c *catalogChange, list string, messages []M, parse func(M, fields) T) []T {
	c.items += len(messages)
	items := make([]T, 0, len(messages))
	places := make([]int, 0, len(messages))
	for i, m := range messages {
		var fault string
		item := parse(m, fields{fault: &fault})
		if fault != "" {
			c.reject(list, i, fault, true)
			continue
		}
		items, places = append(items, item), append(places, i)
	}
	c.places[list] = places
	return items
}

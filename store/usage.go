package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/replica"
	"github.com/template-insights/insights/store/usage"
)

// OpenRow is a row of the present: half an hour of one subject, kind and app in a template.
type OpenRow = usage.OpenRow

// FoldAge is how long ago a half hour ended when its rows are folded.
const FoldAge = usage.FoldAge

// FoldReport says what a pass of folding did.
type FoldReport = usage.FoldReport

// Merge unions rows into the present. It returns when they are durable; on an error some may be and some may not, and
// merging them all again is right. ErrRefused in the error means that the database will never take one of them.
func (s *Store) Merge(ctx context.Context, rows []OpenRow) error { return s.usage.Merge(ctx, rows) }

// Nodes is how many nodes take usage, of which one may fail alone.
func (s *Store) Nodes() int {
	if s.db == nil { // it is not open
		return 1
	}
	return s.db.Nodes()
}

// NodeOf is the node that takes the usage of a template, counted from 0.
func (s *Store) NodeOf(ctx context.Context, template uuid.UUID) int {
	return s.db.NodeOf(ctx, template)
}

// Fold moves the rows of half hours that ended [FoldAge] ago into the pages of their templates and days. Any
// number of servers may fold at once, beside writers and readers. An error of one page does not stop the others.
func (s *Store) Fold(ctx context.Context) (FoldReport, error) { return s.usage.Fold(ctx) }

// So much of the pages of a release of before is rewritten by a server in a second, whichever is less, so that questions and reports have
// the database in between.
const (
	RewrittenPages = 50
	RewrittenBytes = 2_000_000
)

// RewritePages rewrites those of one second, but for those past which it goes because they could not be rewritten. It returns how many more
// of these there are, and how many pages are left anywhere. A page that another one wrote meanwhile or that cannot be read is left, and
// does not stop the others. Any number of servers may rewrite at once.
func (s *Store) RewritePages(ctx context.Context, past int) (failed int, left int64, err error) {
	return s.usage.Rewrite(ctx, past, usage.Amount{Pages: RewrittenPages, Bytes: RewrittenBytes})
}

// UnstoredUsage returns the rows that add anything to what is stored: minutes, samples or an open gate, and of estimates those of what
// was not measured.
func (s *Store) UnstoredUsage(ctx context.Context, rows []OpenRow) ([]OpenRow, error) {
	return s.usage.Unstored(ctx, rows)
}

// WithReplica returns a context of a question that reads usage from a replica, if one may answer, and the choice. All but usage is read
// from the primary.
func (s *Store) WithReplica(ctx context.Context) (context.Context, replica.Choice) {
	return s.usage.WithReplica(ctx)
}

// Replicas returns those that answer questions.
func (s *Store) Replicas() []*replica.Replica {
	if s.db == nil { // it is not open
		return nil
	}
	return s.db.Replicas.All()
}

// Behind is how far what a question reads may be behind what was acknowledged by other programs; zero unless a replica answers it.
func Behind(ctx context.Context) time.Duration { return usage.Behind(ctx) }

// index resolves a scope to the templates that it holds, deleted ones too.
func (s *Store) index(ctx context.Context, scope access.Scope) (usage.Index, error) {
	if !scope.All() {
		return usage.NewIndex(scope.Templates(), false), nil
	}
	return s.everything(ctx)
}

// everything is the index of all templates.
func (s *Store) everything(ctx context.Context) (usage.Index, error) {
	var templates []uuid.UUID
	if err := s.db.Reads.WithContext(ctx).Model(&Template{}).Pluck("id", &templates).Error; err != nil {
		return usage.Index{}, fmt.Errorf("read templates: %w", err)
	}
	return usage.NewIndex(templates, true), nil
}

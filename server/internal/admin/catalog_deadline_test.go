package admin

import (
	"bytes"
	"context"
	"database/sql"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver "sqlite"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// A change of the catalog that takes longer than its caller waits is made all the same, once, and who sends it again is told.
func TestCatalogOutlastsDeadline(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	s := storetest.Open(t, database, time.Now())
	file, err := sql.Open("sqlite", strings.TrimPrefix(database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	other, err := file.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, statement := range []string{
		`CREATE TABLE applied (id text)`,
		`CREATE TRIGGER added AFTER INSERT ON organizations BEGIN INSERT INTO applied VALUES (new.id); END`,
		`CREATE TRIGGER changed AFTER UPDATE ON organizations BEGIN INSERT INTO applied VALUES (new.id); END`,
		`BEGIN IMMEDIATE`, // from here on no change is made
	} {
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	ctx, identity := call.WithIdentity(t.Context(), access.Principal{}, nil)
	identity.SetPrincipal(access.Principal{Kind: access.KindService, ID: uuid.New()}.With(access.Binding{Role: access.RoleControlPlane}))
	c := NewCatalog(s)
	id := uuid.New()
	apply := func(ctx context.Context) (*insightsv1.ApplyCatalogResponse, error) {
		return c.ApplyCatalog(ctx, &insightsv1.ApplyCatalogRequest{
			Organizations: []*insightsv1.Organization{{Id: id.String(), Name: "acme"}},
		})
	}
	first, leave := context.WithCancel(ctx)
	defer leave()
	answers := make(chan error, 2)
	for i, ctx := range []context.Context{first, ctx} {
		go func() {
			answer, err := apply(ctx)
			if err == nil && answer.GetAcknowledged() != 1 {
				t.Errorf("call %d: %v", i, answer)
			}
			answers <- err
		}()
		for bytes.Count(stacks(), []byte("singleflight.(*Group).Do(")) <= i {
			runtime.Gosched()
		}
	}
	for !bytes.Contains(stacks(), []byte("store.(*Store).ApplyCatalog(")) { // it has begun
		runtime.Gosched()
	}
	leave()
	if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	var applied int
	if err := file.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM applied`).Scan(&applied); err != nil || applied != 1 {
		t.Errorf("applied %d times, %v", applied, err)
	}
	if err := s.CheckScope(t.Context(), access.Binding{Organization: id}); err != nil {
		t.Error(err)
	}
}

// stacks are those of all goroutines.
func stacks() []byte {
	text := make([]byte, 1<<20)
	return text[:runtime.Stack(text, true)]
}

package storetest

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// pageTokens: all servers of a database read what one of them sealed, for the same question and as long as no privacy mode changes.
func pageTokens(t *testing.T, f *Fixture) {
	other := Open(t, f.Database, Now)
	keys := make([]store.PageTokenKey, 4)
	var first errgroup.Group
	for i, s := range []*store.Store{f.Store, other, f.Store, other} {
		first.Go(func() (err error) {
			keys[i], err = s.PageTokenKey(t.Context())
			return err
		})
	}
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	sealed := keys[0].Seal([]byte("ann"), []byte("who?"))
	for i, k := range keys {
		if place, err := k.Open(sealed, []byte("who?")); err != nil || string(place) != "ann" {
			t.Errorf("key %d: %q, %v", i, place, err)
		}
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "short": sealed[:8], "changed": append([]byte{sealed[0] ^ 1}, sealed[1:]...), "cut": sealed[:len(sealed)-1],
	} {
		if place, err := keys[1].Open(text, []byte("who?")); !errors.Is(err, store.ErrPageToken) {
			t.Errorf("%s: %q, %v", name, place, err)
		}
	}
	if place, err := keys[1].Open(sealed, []byte("whose?")); !errors.Is(err, store.ErrPageToken) {
		t.Errorf("another question: %q, %v", place, err)
	}
	for _, step := range []struct {
		organization uuid.UUID
		mode         store.PrivacyMode
		want         error
	}{
		{f.Organization, store.PrivacyPseudonym, store.ErrPageTokenModes},
		{f.Organization, store.PrivacyPseudonym, nil}, // that is no change
		{f.Organization, store.PrivacyFull, store.ErrPageTokenModes},
		{uuid.New(), store.PrivacyAggregate, store.ErrPageTokenModes},
		{uuid.Nil, store.PrivacyOff, store.ErrPageTokenModes},
	} {
		before, err := other.PageTokenKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, step.organization, step.mode); err != nil {
			t.Fatal(err)
		}
		after, err := other.PageTokenKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := after.Open(before.Seal([]byte("ann"), nil), nil); !errors.Is(err, step.want) {
			t.Errorf("after %s of %s: %v, want %v", step.mode, step.organization, err, step.want)
		}
	}
}

package storetest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// privacyModes: what is set for an organization holds there, what is set for the deployment elsewhere, and of several the
// strictest.
func privacyModes(t *testing.T, f *Fixture) {
	set := func(organization uuid.UUID, mode, before store.PrivacyMode) {
		t.Helper()
		if previous, err := f.SetPrivacyMode(t.Context(), organization, mode); err != nil || previous != before {
			t.Errorf("mode before %s: %s, %v, want %s", mode, previous, err, before)
		}
	}
	other := uuid.New()
	for _, step := range []struct {
		organization                  uuid.UUID
		mode, before                  store.PrivacyMode
		deployment, own, both, answer store.PrivacyMode
	}{
		{uuid.Nil, store.PrivacyFull, store.PrivacyFull, store.PrivacyFull, store.PrivacyFull, store.PrivacyFull, store.PrivacyFull},
		{
			uuid.Nil, store.PrivacyAggregate, store.PrivacyFull, store.PrivacyAggregate, store.PrivacyAggregate, store.PrivacyAggregate,
			store.PrivacyAggregate,
		},
		{
			f.Organization, store.PrivacyPseudonym, store.PrivacyAggregate, store.PrivacyAggregate, store.PrivacyPseudonym,
			store.PrivacyAggregate, store.PrivacyPseudonym,
		},
		{
			f.Organization, store.PrivacyOff, store.PrivacyPseudonym, store.PrivacyAggregate, store.PrivacyOff, store.PrivacyOff,
			store.PrivacyOff,
		},
		{
			f.Organization, store.PrivacyFull, store.PrivacyOff, store.PrivacyAggregate, store.PrivacyFull, store.PrivacyAggregate,
			store.PrivacyFull,
		},
		{
			f.Organization, store.PrivacyInherit, store.PrivacyFull, store.PrivacyAggregate, store.PrivacyAggregate,
			store.PrivacyAggregate, store.PrivacyAggregate,
		},
		{
			uuid.Nil, store.PrivacyPseudonym, store.PrivacyAggregate, store.PrivacyPseudonym, store.PrivacyPseudonym,
			store.PrivacyPseudonym, store.PrivacyPseudonym,
		},
	} {
		set(step.organization, step.mode, step.before)
		modes, err := f.PrivacyModes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answer, err := f.PrivacyModeOf(t.Context(), f.Everything)
		if err != nil {
			t.Fatal(err)
		}
		got := []store.PrivacyMode{
			modes.Of(uuid.Nil), modes.OfUser([]uuid.UUID{f.Organization}), modes.OfUser([]uuid.UUID{f.Organization, other}), answer,
		}
		for i, want := range []store.PrivacyMode{step.deployment, step.own, step.both, step.answer} {
			if got[i] != want {
				t.Errorf("after %s: modes %v, want %s as number %d", step.mode, got, want, i)
			}
		}
		if nobody := modes.OfUser(nil); nobody != step.deployment {
			t.Errorf("a user without an organization: %s", nobody)
		}
		if nothing, err := f.PrivacyModeOf(t.Context(), access.Scope{}); err != nil || nothing != step.deployment {
			t.Errorf("no template: %s, %v", nothing, err)
		}
		if since := modes.Since(step.organization); !since.Equal(Now) {
			t.Errorf("set at %v", since)
		}
	}
}

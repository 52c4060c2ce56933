package storetest

import (
	"errors"
	"slices"
	"sync"
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
		if previous, err := f.SetPrivacyMode(t.Context(), access.Principal{}, organization, mode); err != nil || previous != before {
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

// privacyModeDecidedOnce: of all who want to decide on the mode of the deployment one does, and never who comes after an officer.
func privacyModeDecidedOnce(t *testing.T, f *Fixture) {
	holds := func(decided bool, want store.PrivacyMode, events ...string) { // of the trail, in alphabetical order
		t.Helper()
		modes, err := f.PrivacyModes(t.Context())
		if err != nil || modes.Decided() != decided || modes.Of(uuid.Nil) != want {
			t.Errorf("decided %v: %s, %v; want %v: %s", modes.Decided(), modes.Of(uuid.Nil), err, decided, want)
		}
		trail, err := f.AuditEvents(t.Context(), store.AuditFilter{Actions: []string{store.AuditModeChange}, Limit: 10})
		var targets []string
		for _, e := range trail {
			targets = append(targets, e.Target)
		}
		if slices.Sort(targets); err != nil || !slices.Equal(targets, events) {
			t.Errorf("the trail has %q, %v, want %q", targets, err, events)
		}
	}
	off := "organization=" + f.Organization.String() + " from=full mode=off"
	for range 2 { // the second time nothing changes
		if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyOff); err != nil {
			t.Fatal(err)
		}
	}
	holds(false, store.PrivacyFull, off) // one organization is not the deployment
	keyless, err := store.Open(t.Context(), store.Options{Database: f.Database, Pooler: isPooled(f.Database)})
	if err != nil {
		t.Fatal(err)
	}
	defer keyless.Close()
	if _, err := keyless.DecidePrivacyMode(t.Context(), store.PrivacyAggregate); !errors.Is(err, store.ErrNoPrivacyKey) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := keyless.FirstToken(t.Context(), store.PrivacyAggregate); !errors.Is(err, store.ErrNoPrivacyKey) {
		t.Errorf("the first token, without a key: %v", err)
	}
	holds(false, store.PrivacyFull, off)

	var wait sync.WaitGroup
	decided, errs := make([]bool, 4), make([]error, 4)
	for i := range decided {
		wait.Go(func() { decided[i], errs[i] = f.DecidePrivacyMode(t.Context(), store.PrivacyPseudonym) })
	}
	wait.Wait()
	deciders := 0
	for _, did := range decided {
		if did {
			deciders++
		}
	}
	if err := errors.Join(errs...); err != nil || deciders != 1 {
		t.Errorf("%d decided, %v", deciders, err)
	}
	holds(true, store.PrivacyPseudonym, "mode=pseudonym", off)

	if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, uuid.Nil, store.PrivacyAggregate); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []store.PrivacyMode{store.PrivacyFull, store.PrivacyOff} {
		if did, err := f.DecidePrivacyMode(t.Context(), mode); did || err != nil {
			t.Errorf("%s after an officer: %v, %v", mode, did, err)
		}
	}
	if _, err := f.FirstToken(t.Context(), store.PrivacyFull); err != nil { // the first token failed without a trace
		t.Error(err)
	}
	holds(true, store.PrivacyAggregate, "from=pseudonym mode=aggregate", "mode=pseudonym", off)
}

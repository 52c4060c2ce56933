package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// issue makes one token and finds its principal.
func (f *Fixture) issue(t *testing.T, token store.Token) (access.Token, access.Principal) {
	t.Helper()
	secrets, err := f.CreateTokens(t.Context(), []store.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Authenticate(t.Context(), secrets[0])
	if err != nil {
		t.Fatal(err)
	}
	return secrets[0], p
}

// signIn makes a session that lets its principal in.
func (f *Fixture) signIn(t *testing.T, p access.Principal, longest time.Duration) (access.Token, access.Principal, time.Time) {
	t.Helper()
	session, until, err := f.SignIn(t.Context(), p, longest)
	if err != nil {
		t.Fatal(err)
	}
	in, err := f.Authenticate(t.Context(), session)
	if err != nil || in.ID != p.ID || in.Kind != p.Kind || in.Name != p.Name || !in.Until.Equal(until) {
		t.Fatalf("session of %+v until %v: %+v, %v", p, until, in, err)
	}
	return session, in, until
}

// sessions end by themselves, when somebody signs out, and with the token that began them, whichever is first.
func sessions(t *testing.T, f *Fixture) {
	user := store.Token{Name: "u", PrincipalKind: access.KindUser, PrincipalID: f.Users[0]}
	out := func(session access.Token, why string) {
		t.Helper()
		if _, err := f.Authenticate(t.Context(), session); !errors.Is(err, store.ErrUnauthenticated) {
			t.Errorf("%s: %v", why, err)
		}
	}
	token, p := f.issue(t, user)
	first, _, until := f.signIn(t, p, time.Hour)
	if !until.Equal(Now.Add(time.Hour)) {
		t.Errorf("the session ends at %v", until)
	}
	second, again, _ := f.signIn(t, p, time.Hour)
	third, _, _ := f.signIn(t, again, time.Hour) // of a session
	for range 2 {
		if err := f.SignOut(t.Context(), first.ID()); err != nil {
			t.Error(err)
		}
	}
	out(first, "signed out")
	if err := f.SignOut(t.Context(), token.ID()); err != nil {
		t.Error(err)
	}
	if _, err := f.Authenticate(t.Context(), token); err != nil {
		t.Errorf("the token after signing out: %v", err)
	}
	if err := f.RevokeToken(t.Context(), token.ID()); err != nil {
		t.Error(err)
	}
	out(second, "the token is revoked")
	out(third, "the token is revoked, the session of a session")

	user.ExpiresAt = store.At(Now.Add(time.Minute))
	_, p = f.issue(t, user)
	if _, _, until := f.signIn(t, p, time.Hour); !until.Equal(Now.Add(time.Minute)) {
		t.Errorf("the session ends at %v, its token before", until)
	}
	// Who is known in another way shows no token.
	p, err := f.User(t.Context(), f.Users[1])
	if err != nil {
		t.Fatal(err)
	}
	left, _, _ := f.signIn(t, p, time.Hour)
	ended, _, err := f.SignIn(t.Context(), p, 0)
	if err != nil {
		t.Fatal(err)
	}
	out(ended, "a session without time")
	if _, err := f.Expire(t.Context(), store.Horizons{Audit: Now.Add(time.Minute)}); err != nil {
		t.Error(err)
	}
	if _, err := f.Authenticate(t.Context(), left); err != nil {
		t.Errorf("a session that has time left, after others were deleted: %v", err)
	}
	list, err := f.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range list {
		if token.ID == ended.ID() {
			t.Error("a session that ended is kept")
		}
	}
}

// A token for one call lets one caller in, however many try at once, and the sessions that it began end with it.
func oneCall(t *testing.T, f *Fixture) {
	secrets, err := f.CreateTokens(t.Context(), []store.Token{
		{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Purpose: store.PurposeSignIn},
	})
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	var in atomic.Pointer[access.Principal]
	var out atomic.Int32
	for range 8 {
		callers.Go(func() {
			switch p, err := f.Authenticate(t.Context(), secrets[0]); {
			case errors.Is(err, store.ErrUnauthenticated):
				out.Add(1)
			case err != nil:
				t.Error(err)
			case !in.CompareAndSwap(nil, &p):
				t.Error("two callers are let in")
			}
		})
	}
	callers.Wait()
	if in.Load() == nil || !in.Load().Once || out.Load() != 7 {
		t.Fatalf("%+v is let in, %d are not", in.Load(), out.Load())
	}
	session, _, _ := f.signIn(t, *in.Load(), time.Hour)
	if err := f.RevokeToken(t.Context(), secrets[0].ID()); err != nil {
		t.Error(err)
	}
	if _, err := f.Authenticate(t.Context(), session); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("the session of a revoked token: %v", err)
	}
}

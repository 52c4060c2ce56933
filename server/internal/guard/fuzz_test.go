package guard

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// A call has one credential in one header, in the form of a token; everything else is nobody.
func FuzzCredential(f *testing.F) {
	token := access.NewToken().Reveal()
	f.Add("Bearer "+token, "", "")
	f.Add("", token, "")
	f.Add("", "", token)
	f.Add("Bearer "+token, token, "")
	f.Add("", token, token)
	f.Add("bearer  "+token, "", "")
	f.Add("Basic "+token, "", token)
	f.Add("Bearer a.b.c", "", "")
	f.Fuzz(func(t *testing.T, authorization, coder, session string) {
		md := metadata.MD{}
		shown := 0
		for header, value := range map[string]string{
			"authorization": authorization, "coder-session-token": coder, "session-token": session,
		} {
			if value != "" {
				md.Append(header, value)
				shown++
			}
		}
		for _, issuer := range []*TokenVerifier{nil, {}} {
			c, err := (&authenticator{issuer: issuer}).credentialOf(metadata.NewIncomingContext(t.Context(), md))
			if err != nil {
				if !errors.Is(err, store.ErrUnauthenticated) && !errors.Is(err, access.ErrMalformedToken) {
					t.Errorf("%v: %v", md, err)
				}
				continue
			}
			text := coder + session
			if authorization != "" {
				text = authorization[min(7, len(authorization)):]
				if !strings.EqualFold(authorization[:len(authorization)-len(text)], "Bearer ") {
					t.Errorf("%q is taken", authorization)
				}
			}
			own, err := access.ParseToken(text)
			asJWT := issuer != nil && strings.Count(text, ".") == 2 && len(text) <= MaxJWT
			if shown != 1 || asJWT != (string(c.jwt) == text && text != "") || !asJWT && (err != nil || c.token.Reveal() != own.Reveal()) {
				t.Errorf("%v is taken as %v", md, c)
			}
		}
	})
}

// newFuzzIssuer is an issuer with a key that signs quickly, and a verifier of its tokens.
func newFuzzIssuer(f *testing.F) (*TokenVerifier, jose.JSONWebKey, map[string]any) {
	f.Helper()
	i := wiretest.NewIssuer(f)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "one", Algorithm: "ES256", Use: "sig"}
	i.Keys = []jose.JSONWebKey{key}
	v := newTokenVerifier(OIDC{Issuer: i.URL, Audience: "insights"}, func() time.Time { return storetest.Now })
	now := storetest.Now.Unix()
	return v, key, map[string]any{"iss": i.URL, "aud": "insights", "sub": wiretest.Agent, "iat": now - 60, "exp": now + 60}
}

// Nobody makes a token that counts without the issuer's key.
func FuzzForgedJWT(f *testing.F) {
	v, key, claims := newFuzzIssuer(f)
	good := wiretest.Sign(f, jose.ES256, key, claims)
	if user, _, err := v.verify(f.Context(), good); err != nil || user.String() != wiretest.Agent {
		f.Fatal(user, err)
	}
	parts := strings.Split(good, ".")
	for _, header := range []string{
		`{"alg":"none"}`, `{"alg":"HS256","kid":"one"}`, `{"alg":"ES256"}`, `{"alg":"ES256","kid":"one","crit":["exp"]}`,
		`{"alg":"ES256","kid":"` + strings.Repeat("k", 5000) + `"}`, `{}`, `null`, `{"alg":["ES256"]}`,
	} {
		f.Add([]byte(header), []byte(`{"sub":"`+wiretest.Agent+`"}`), parts[2])
		f.Add([]byte(header), []byte(`{"exp":1e400}`), "")
	}
	f.Fuzz(func(t *testing.T, header, payload []byte, signature string) {
		text := encodePart(header) + "." + encodePart(payload) + "." + signature
		if text == good || !isJWT(text) {
			return
		}
		if user, _, err := v.verify(t.Context(), text); !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
			t.Errorf("%q lets %v in: %v", text, user, err)
		}
		if user, _, err := v.verify(t.Context(), string(header)); !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
			t.Errorf("%q lets %v in: %v", header, user, err)
		}
	})
}

// Of the claims that the issuer signs, only the right ones let a user in.
func FuzzClaims(f *testing.F) {
	v, key, good := newFuzzIssuer(f)
	now := storetest.Now.Unix()
	for name, value := range map[string]any{
		"": nil, "iss": "x", "aud": []string{"a", "insights"}, "exp": now - 31, "nbf": now + 31, "sub": []string{wiretest.Agent},
		"email_verified": "true", "iat": "x", "EXP": now - 100, "Sub": "x",
	} {
		claims := maps.Clone(good)
		claims[name] = value
		text, err := json.Marshal(claims)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`{"aud":"insights","exp":1e300,"sub":"` + wiretest.Agent + `"}`)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "ISS", good["iss"].(string))
		token := wiretest.SignText(t, jose.ES256, key, []byte(text))
		if !isJWT(token) {
			return
		}
		user, _, err := v.verify(t.Context(), token)
		if err != nil {
			if !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
				t.Errorf("%s: %v, %v", text, user, err)
			}
			return
		}
		var claims map[string]any
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		audiences, _ := claims["aud"].([]any)
		expiry, _ := claims["exp"].(float64)
		if claims["iss"] != good["iss"] || claims["aud"] != "insights" && !slices.Contains(audiences, any("insights")) ||
			expiry < float64(now)-JwtLeeway.Seconds() ||
			claims["sub"] != user.String() && !strings.EqualFold(claims["sub"].(string), user.String()) {
			t.Errorf("%s lets %v in", text, user)
		}
	})
}

// encodePart is a part of a token.
func encodePart(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// The ids of a scope are read one by one, and an answer names those that are none without growing.
func FuzzTemplateIDs(f *testing.F) {
	for _, list := range []string{
		"", wiretest.Agent, wiretest.Agent + "," + wiretest.Agent, "x," + wiretest.Agent, "{" + wiretest.Agent + "}",
		"urn:uuid:" + wiretest.Agent, strings.Repeat("y,", 100), strings.Repeat("\u00e4", 200),
	} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		m := &insightsv1.GetTemplateInsightsRequest{TemplateIds: strings.Split(list, ",")}
		ids, found := templateIDs(m.ProtoReflect(), m.ProtoReflect().Descriptor().Fields().ByName("template_ids"))
		var want []uuid.UUID
		bad := 0
		for _, text := range m.GetTemplateIds() {
			if id, err := uuid.Parse(text); err == nil {
				want = append(want, id)
				continue
			}
			bad++
		}
		if bad > 0 {
			if len(ids) > 0 || len(found) != 1 || found[0].Field != "template_ids" || len(found[0].Detail) > 1000 ||
				!utf8.ValidString(found[0].Detail) {
				t.Errorf("%d bad ids: %v, %v", bad, ids, found)
			}
			return
		}
		if len(found) > 0 || !slices.Equal(ids, want) {
			t.Errorf("%q: %v, %v", list, ids, found)
		}
	})
}

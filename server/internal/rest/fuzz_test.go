package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

// The address of a client is the last one that no trusted proxy vouches for, and it can travel to the server.
func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:5", "203.0.113.9, 10.2.2.2")
	f.Add("[::1]:5", "::ffff:10.1.1.1,fe80::1%eth0")
	f.Add("[::ffff:10.0.0.1]:5", "fe80::1%\u00e4, 10.0.0.2")
	f.Add("10.0.0.1:5", "10.0.0.2,10.0.0.3")
	f.Add("@", "10.0.0.2")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": strings.Split(forwarded, ";")}}
		got := clientAddress(r, trusted)
		direct, err := netip.ParseAddrPort(remote)
		if err != nil {
			if got != remote {
				t.Errorf("%q became %q", remote, got)
			}
			return
		}
		// The list with the direct address at its end, walked from there while all are trusted.
		chain := append(strings.Split(strings.Join(strings.Split(forwarded, ";"), ","), ","), direct.Addr().String())
		want := ""
		for i := len(chain) - 1; i >= 0; i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
			if err != nil || i < len(chain)-1 && hop.Zone() != "" {
				break // what the last proxy said is not an address
			}
			hop = hop.Unmap()
			want = hop.String()
			if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(hop) }) {
				break
			}
		}
		if got != want {
			t.Errorf("%q, forwarded for %q, became %q, want %q", remote, forwarded, got, want)
		}
	})
}

// Whatever the headers of a REST call are: the server sees what it reads and nothing else, and the call is not lost.
func FuzzHeader(f *testing.F) {
	for _, header := range [][2]string{
		{"Coder-Session-Token", "x"},
		{"Session-Token", "\u00e4"},
		{"Authorization", "Bearer x"},
		{"Authorization", "\xff"},
		{"Grpc-Metadata-Authorization", "x"},
		{"Grpc-Timeout", "1n"},
		{"Grpc-Metadata-Insights-Caller-Address", "1.2.3.4"},
		{"Insights-Caller-Address", "1.2.3.4"},
		{"X-Forwarded-For", "fe80::1%\u00e4"},
		{"X-Forwarded-For", "\x01"},
		{"X-Forwarded-Host", "\u00e4"},
		{"X-Request-Id", "\x7f"},
		{"Traceparent", "00-0-0-01"},
		{"Traceparent-Bin", "!"},
		{"Host", "a b"},
		{"X-Http-Method-Override", "POST"},
		{"Content-Encoding", "gzip"},
		{"te", "x"},
		{":authority", "x"},
	} {
		f.Add(header[0], header[1])
	}
	g, err := New(Options{
		Registry: prometheus.NewRegistry(), Requests: guard.NewRequests(),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	if err != nil {
		f.Fatal(err)
	}
	var seen atomic.Pointer[metadata.MD]
	probe := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		seen.Store(&md)
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	served := make(chan error, 1)
	go func() { served <- probe.Serve(g.Listener) }()
	f.Cleanup(func() {
		probe.Stop()
		if err := errors.Join(<-served, g.Close()); err != nil {
			f.Error(err)
		}
	})
	allowed := []string{
		"authorization", "coder-session-token", "session-token", "traceparent", "x-request-id", "x-forwarded-for", "x-forwarded-host",
		call.CallerAddressKey, guard.RequestKey, ":authority", "content-type", "user-agent", "grpc-accept-encoding",
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v2/access/me", nil)
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		answer := httptest.NewRecorder()
		seen.Store(nil)
		g.ServeHTTP(answer, r)
		canonical := strings.ToLower(http.CanonicalHeaderKey(name))
		printable := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) < 0
		if answer.Code == http.StatusUnsupportedMediaType && canonical == "content-encoding" ||
			answer.Code == http.StatusUnauthorized && slices.Contains(guard.CredentialHeaders, canonical) && !printable {
			return
		}
		md := seen.Load()
		if answer.Code != http.StatusOK || md == nil {
			t.Fatalf("%s: %q: %d %s", name, value, answer.Code, answer.Body)
		}
		for key, values := range *md {
			if !slices.Contains(allowed, key) || len(values) != 1 {
				t.Errorf("%s: %q: the server sees %s: %q", name, value, key, values)
			}
		}
		if _, forwarded := r.Header["X-Forwarded-For"]; !forwarded && !slices.Equal(md.Get(call.CallerAddressKey), []string{"192.0.2.1"}) {
			t.Errorf("%s: %q: the caller's address is %q", name, value, md.Get(call.CallerAddressKey))
		}
	})
}

// ingestBodies are the bodies of calls that bring something in.
var ingestBodies = []func() proto.Message{
	func() proto.Message { return &insightsv1.ReportStatsRequest{} },
	func() proto.Message { return &insightsv1.ReportAppSessionsRequest{} },
	func() proto.Message { return &insightsv1.ReportEventsRequest{} },
	func() proto.Message { return &insightsv1.ApplyCatalogRequest{} },
	func() proto.Message { return &insightsv1.AgentReport{} },
	func() proto.Message { return &insightsv1.Event{} },
}

// isFinite reports whether all numbers of a message are some that JSON has.
func isFinite(m proto.Message) bool {
	finite := true
	_ = protorange.Range(m.ProtoReflect(), func(p protopath.Values) error { // fails only when the function does
		if x, ok := p.Index(-1).Value.Interface().(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
			finite = false
		}
		return nil
	})
	return finite
}

// JSON that is read is the same when it is written and read again, and reading takes no time worth mentioning.
func FuzzIngestJSON(f *testing.F) {
	for i, body := range []string{
		`{"reports":[{"agent_id":"` + wiretest.Agent + `","sequence":"18446744073709551615",` +
			`"collected_at":"2023-08-15T12:00:00.5Z","interval":"30s",` +
			`"session_counts":{"vscode":"1"},"connection_median_latency_ms":1e-3}]}`,
		`{"sessions":[{"agentId":"` + wiretest.Agent +
			`","access_method":"path","started_at":"1970-01-01T00:00:00Z","ended_at":"9999-12-31T23:59:59.999999999Z"}]}`,
		`{"events":[{"at":"2023-08-15T12:00:00+02:00","login":{"user_id":"x"}},` +
			`{"build":{"number":1,"parameters":[{"name":"a","value":"\u0000"}]}}],"metrics":[{"value":"NaN"}]}`,
		`{"organizations":[{"id":"` + wiretest.Agent +
			`","name":"a"}],"template_versions":[{"parameters":[{"options":[{}]}]}],"deleted":{"users":[""]}}`,
		`{"interval":"-0.000000001s","connection_median_latency_ms":"-Infinity"}`,
		`{"at":null,"login":null}`,
	} {
		f.Add(uint8(i), body)
		f.Add(uint8(i), strings.Repeat(`{"reports":[`, 200)+body)
		f.Add(uint8(i), strings.ReplaceAll(body, `"`, ""))
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		kind := ingestBodies[int(which)%len(ingestBodies)]
		m := kind()
		var err error
		wiretest.Within(t, "reading", func() { err = JSONMarshaler{}.NewDecoder(strings.NewReader(body)).Decode(m) })
		if err != nil {
			return
		}
		text, err := JSONMarshaler{}.Marshal(m)
		if !isFinite(m) {
			if err == nil {
				t.Errorf("written in spite of a number that JSON does not have: %s", text)
			}
			return
		}
		again := kind()
		if err != nil || !json.Valid(text) || (JSONMarshaler{}).Unmarshal(text, again) != nil || !proto.Equal(m, again) {
			t.Fatalf("%v, written as %s, is read as %v; %v", m, text, again, err)
		}
		if same, err := (JSONMarshaler{}).Marshal(again); err != nil || !bytes.Equal(text, same) {
			t.Errorf("equal messages are written as %s and %s; %v", text, same, err)
		}
	})
}

// restQuestions are the requests that REST makes of query parameters, in the order of their RPCs.
func restQuestions(f *testing.F) (requests []protoreflect.MessageType) {
	f.Helper()
	routes := wiretest.Routes(f)
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		if routes[name].Verb == http.MethodPost {
			continue // its request is the body
		}
		request, err := protoregistry.GlobalTypes.FindMessageByName(wiretest.Method(f, name).Input().FullName())
		if err != nil {
			f.Fatal(err)
		}
		requests = append(requests, request)
	}
	return requests
}

// Every parameter of a query gets into its field, or is named as the one that is wrong.
func FuzzQuery(f *testing.F) {
	questions := restQuestions(f)
	for i := range questions {
		for _, query := range []string{
			wiretest.Week, "template_ids=a,,b&template_ids=%20c", "page_size=1&page_token=", "page_size=0x1", "page_size=", "tz_offset=-3",
			"tz_offset=5.5", "interval=day&interval=week", "foo=1", "=", "%ff=1", "search=%ff",
			"template_ids[a]=1", "principal.kind=PRINCIPAL_KIND_USER", "principal.kind=9", "principal.id=x&principal.id=y",
			"start_time.seconds=1", "sections=report,interval_reports", "timezone", "startTime=1",
			"role_binding.role=x", "role_binding.principal.kind=x", "since=1", "at=2023-08-15T12:00:00Z",
		} {
			f.Add(uint8(i), query)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		target := questions[int(which)%len(questions)].New()
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		found := checkQuery(target.Descriptor(), query)
		for _, e := range found {
			if !utf8.ValidString(e.Field+e.Detail) || len(e.Field) > 100 || e.Detail == "" {
				t.Errorf("what is wrong: %+v", e)
			}
		}
		err = queryParser{}.Parse(target.Interface(), query, utilities.NewDoubleArray(nil))
		if (err != nil) != (len(found) > 0) {
			t.Fatalf("%q for %s: %v, but what is wrong is %v", text, target.Descriptor().Name(), err, found)
		}
		if err != nil {
			return
		}
		for name, values := range query {
			field, in := queryField(target.Descriptor(), name), target
			for _, part := range strings.Split(name, ".")[:strings.Count(name, ".")] {
				in = in.Get(in.Descriptor().Fields().ByName(protoreflect.Name(part))).Message()
			}
			switch got := in.Get(field); {
			case field.IsList():
				var list []string
				for i := range got.List().Len() {
					list = append(list, got.List().Get(i).String())
				}
				if want := splitList(values); field.Kind() == protoreflect.StringKind && !slices.Equal(list, want) {
					t.Errorf("%s: %q, want %q", name, list, want)
				}
			case field.Kind() == protoreflect.StringKind && got.String() != values[0],
				field.Kind() == protoreflect.Int32Kind && values[0] != "" && got.Int() != mustInt(t, values[0]):
				t.Errorf("%s: %v, want %q", name, got, values[0])
			}
		}
	})
}

func mustInt(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

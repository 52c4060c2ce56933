package rest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// What is compressed is refused and not decompressed: small on the wire is small in memory.
func TestNothingIsDecompressed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gzip", "deflate", "snappy", "zstd"} {
		if encoding.GetCompressor(name) != nil {
			t.Errorf("something brings %s: messages would be decompressed before their parts are counted", name)
		}
	}
}

// Messages of too many parts are refused on the wire, at whatever depth the parts are; others are decoded as ever.
func TestMessageParts(t *testing.T) {
	t.Parallel()
	reports := func(n int) *insightsv1.ReportStatsRequest {
		return &insightsv1.ReportStatsRequest{Reports: make([]*insightsv1.AgentReport, n)}
	}
	nested := func(n int) *insightsv1.ReportStatsRequest {
		r := reports(2)
		for i := range r.Reports {
			r.Reports[i] = &insightsv1.AgentReport{Metrics: make([]*insightsv1.Metric, n)}
		}
		return r
	}
	for name, c := range map[string]struct {
		message proto.Message
		refused bool
	}{
		"none":              {reports(0), false},
		"as many as may be": {reports(maxParts), false},
		"one more":          {reports(maxParts + 1), true},
		"within parts":      {nested(maxParts/2 - 1), false},
		"one more in each":  {nested(maxParts / 2), true},
		"large without many": {
			&insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{{AgentVersion: strings.Repeat("x", 1<<20)}}}, false,
		},
	} {
		wire, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		got := &insightsv1.ReportStatsRequest{}
		err = NewPartsCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, got)
		if errors.Is(err, errParts) != c.refused ||
			!c.refused && (err != nil || len(got.GetReports()) != len(c.message.(*insightsv1.ReportStatsRequest).GetReports())) {
			t.Errorf("%s: %v, want refused: %v", name, err, c.refused)
		}
	}
	for n, refused := range map[int]bool{maxParts: false, maxParts + 1: true} {
		body := &requestBody{ReadCloser: io.NopCloser(bytes.NewReader(bytes.Repeat([]byte("{}"), n)))}
		if _, err := io.Copy(io.Discard, body); errors.Is(err, errParts) != refused {
			t.Errorf("%d objects of JSON: %v", n, err)
		}
	}
}

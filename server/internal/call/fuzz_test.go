package call

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/storetest"
)

// Page tokens are those of their list alone, and what is behind them comes back.
func FuzzPageToken(f *testing.F) {
	question := &insightsv1.GetUserActivityRequest{StartTime: "2023-08-07T00:00:00Z"}
	ctx, db := context.Background(), storetest.Open(f, storetest.SQLite(f), storetest.Now)
	p, err := OpenPage(ctx, db, question, 1)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range append(
		[]string{p.Token(Position{-1, "x"}), p.Token(Position{}), p.Token(Position{math.MinInt64, "\x00\u00e4"})},
		wiretest.Evil["page_token"]...,
	) {
		f.Add(text, int32(10), "ann")
	}
	f.Fuzz(func(t *testing.T, text string, size int32, search string) {
		asked := proto.CloneOf(question)
		asked.PageToken, asked.PageSize = text, size
		p, err := OpenPage(ctx, db, asked, 50)
		if err != nil {
			for _, fault := range wiretest.Faults(t, err) {
				if !strings.HasPrefix(fault, "page_token: ") && !strings.HasPrefix(fault, "page_size: ") {
					t.Errorf("what is wrong: %q", fault)
				}
			}
			return
		}
		if p.Size < 1 || p.Size > MaxPage || (p.After == nil) != (text == "") {
			t.Fatalf("page %+v", p)
		}
		if p.After == nil {
			return
		}
		// The same position in the next page's token, and in no other list's.
		asked.PageToken = p.Token(*p.After)
		if again, err := OpenPage(ctx, db, asked, 50); err != nil || *again.After != *p.After {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
		other := proto.CloneOf(asked)
		other.Search = search
		if _, err := OpenPage(ctx, db, other, 50); (err == nil) != (search == "") && utf8.ValidString(search) {
			t.Errorf("the token in a list of %q: %v", search, err)
		}
		list := []Position{{math.MinInt64, ""}, *p.After, {p.After.Rank, p.After.ID + "a"}, {math.MaxInt64, "\U0010ffff"}}
		items, _ := Cut(p, list, func(x Position) Position { return x })
		if slices.ContainsFunc(items, func(x Position) bool { return x.Compare(*p.After) <= 0 }) {
			t.Errorf("after %+v come %+v", *p.After, items)
		}
	})
}

package call

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/template-insights/insights/store"
)

// MaxPage bounds the pages of lists.
const MaxPage = 1000

// PageRequest is a question whose answer is a list that comes in pages.
type PageRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// Position is where an item stands in a list: by its rank, then by its id.
type Position struct {
	Rank int64
	ID   string
}

// Compare orders positions as their lists are ordered.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Rank, q.Rank), cmp.Compare(p.ID, q.ID))
}

// Placed is an item on its way into the order of a list. Its id is set only if it is of a page and others have its rank.
type Placed[T any] struct {
	Position

	Item *T
}

// Page is what a request asks for of a list.
type Page struct {
	Size     int       // at most so many; 0: all
	After    *Position // where the page before ended, so that pages neither repeat nor skip what stays; nil: from the beginning
	question []byte
	key      store.PageTokenKey
}

// Errors for page tokens that ask for nothing here.
var (
	ErrPageToken  = Invalid(MessageInvalidValue, FieldError{"page_token", "is not one of this list"})
	errOtherModes = Invalid(MessageInvalidValue, FieldError{
		"page_token", "was made under another privacy mode: begin again without it",
	})
)

// OpenPage reads which page a request asks for. Without a size the page has the standard size; 0 is everything. It must be called
// before the list is read, so that no token outlives the privacy modes that the list was read under.
func OpenPage(ctx context.Context, s *store.Store, req PageRequest, standard int) (Page, error) {
	p := Page{Size: int(req.GetPageSize()), question: questionOf(req)}
	if p.Size < 0 || p.Size > MaxPage {
		return p, Invalid(MessageInvalidValue, FieldError{"page_size", fmt.Sprintf("must be from 0 to %d", MaxPage)})
	}
	p.Size = cmp.Or(p.Size, standard)
	text := req.GetPageToken()
	if p.Size == 0 && text == "" {
		return p, nil // there is no next page
	}
	var err error
	if p.key, err = s.PageTokenKey(ctx); err != nil || text == "" {
		return p, err
	}
	p.After, err = p.read(text)
	return p, err
}

// Token is what asks for the page after the one that ends with an item. It holds the position sealed, for that may be a name.
func (p Page) Token(last Position) string {
	return base64.RawURLEncoding.EncodeToString(p.key.Seal(append(binary.AppendVarint(nil, last.Rank), last.ID...), p.question))
}

// read reads a token of the same question.
func (p Page) read(token string) (*Position, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, ErrPageToken
	}
	place, err := p.key.Open(sealed, p.question)
	switch {
	case errors.Is(err, store.ErrPageTokenModes):
		return nil, errOtherModes
	case err != nil:
		return nil, ErrPageToken
	}
	rank, n := binary.Varint(place)
	if n <= 0 {
		return nil, ErrPageToken
	}
	return &Position{rank, string(place[n:])}, nil
}

// Cut cuts the page out of a list in order of its positions. next asks for the page after it; empty: there is none.
func Cut[T any](p Page, list []T, of func(T) Position) (items []T, next string) {
	if p.After != nil {
		list = slices.DeleteFunc(list, func(x T) bool { return of(x).Compare(*p.After) <= 0 })
	}
	if p.Size == 0 || len(list) <= p.Size {
		return list, ""
	}
	return list[:p.Size], p.Token(of(list[p.Size-1]))
}

// CutInOrder cuts the page out of a list that has no order yet, as Cut does of one that has. It makes the ids of those alone that have the
// rank of another one and are on the page: keys of names take their time, and in most orders few are equal.
func CutInOrder[T any](p Page, list []Placed[T], id func(*T) string) (items []Placed[T], next string) {
	if p.After != nil {
		list = slices.DeleteFunc(list, func(x Placed[T]) bool {
			by := cmp.Compare(x.Rank, p.After.Rank)
			return by < 0 || by == 0 && id(x.Item) <= p.After.ID
		})
	}
	most := len(list)
	if p.Size > 0 {
		most = min(most, p.Size)
	}
	slices.SortFunc(list, func(a, b Placed[T]) int { return cmp.Compare(a.Rank, b.Rank) })
	for from := 0; from < most; {
		to := from + 1
		for to < len(list) && list[to].Rank == list[from].Rank {
			to++
		}
		if equal := list[from:to]; len(equal) > 1 {
			for i := range equal {
				equal[i].ID = id(equal[i].Item)
			}
			slices.SortFunc(equal, func(a, b Placed[T]) int { return cmp.Compare(a.ID, b.ID) })
		}
		from = to
	}
	if most == len(list) {
		return list, ""
	}
	last := list[most-1]
	return list[:most], p.Token(Position{last.Rank, id(last.Item)})
}

// questionOf is all that a request asks besides the page.
func questionOf(req PageRequest) []byte {
	question := proto.Clone(req).ProtoReflect()
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		question.Clear(question.Descriptor().Fields().ByName(name))
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(question.Interface())
	if err != nil {
		return nil // text that is not UTF-8 does not get this far
	}
	return append(text, question.Descriptor().FullName()...)
}

package call

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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

// pageToken is what a page token holds: the position of the last item before the page, so that pages neither repeat nor skip
// what stays when items come and go, and which question the list answers.
type pageToken struct {
	After    Position
	Question uint64
}

// page is what a request asks for of a list.
type page struct {
	Size     int       // at most so many; 0: all
	After    *Position // nil: from the beginning
	question uint64
}

// ErrPageToken is the error for a page token that is none, or that of another list.
var ErrPageToken = Invalid(MessageInvalidValue, FieldError{"page_token", "is not one of this list"})

// OpenPage reads which page a request asks for. Without a size the page has the standard size; 0 is everything.
func OpenPage(req PageRequest, standard int) (page, error) {
	p := page{Size: int(req.GetPageSize()), question: questionOf(req)}
	if p.Size < 0 || p.Size > MaxPage {
		return p, Invalid(MessageInvalidValue, FieldError{"page_size", fmt.Sprintf("must be from 0 to %d", MaxPage)})
	}
	p.Size = cmp.Or(p.Size, standard)
	if text := req.GetPageToken(); text != "" {
		var token pageToken
		data, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(data, &token) != nil || token.Question != p.question {
			return p, ErrPageToken
		}
		p.After = &token.After
	}
	return p, nil
}

// Token is what asks for the page after the one that ends with an item.
func (p page) Token(last Position) string {
	data, _ := json.Marshal(pageToken{last, p.question}) // numbers and text: cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}

// Paginate cuts the page that a request asks for out of a list in order of its positions.
func Paginate[T any](list []T, req PageRequest, standard int, of func(T) Position) (items []T, next string, err error) {
	p, err := OpenPage(req, standard)
	if err != nil {
		return nil, "", err
	}
	if p.After != nil {
		list = slices.DeleteFunc(list, func(x T) bool { return of(x).Compare(*p.After) <= 0 })
	}
	if p.Size == 0 || len(list) <= p.Size {
		return list, "", nil
	}
	return list[:p.Size], p.Token(of(list[p.Size-1])), nil
}

// questionOf is a number for all that a request asks besides the page.
func questionOf(req PageRequest) uint64 {
	question := proto.Clone(req).ProtoReflect()
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		question.Clear(question.Descriptor().Fields().ByName(name))
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(question.Interface())
	if err != nil {
		return 0 // text that is not UTF-8 does not get this far
	}
	h := fnv.New64a()
	_, _ = h.Write(append(text, question.Descriptor().FullName()...))
	return h.Sum64()
}

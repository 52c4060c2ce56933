package server

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

// maxPage bounds the pages of lists.
const maxPage = 1000

// pageRequest is a question whose answer is a list that comes in pages.
type pageRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// position is where an item stands in a list: by its rank, then by its id.
type position struct {
	Rank int64
	ID   string
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.Rank, q.Rank), cmp.Compare(p.ID, q.ID))
}

// pageToken is what a page token holds: the position of the last item before the page, so that pages neither repeat nor skip
// what stays when items come and go, and which question the list answers.
type pageToken struct {
	After    position
	Question uint64
}

// page is what a request asks for of a list.
type page struct {
	size     int       // at most so many; 0: all
	after    *position // nil: from the beginning
	question uint64
}

var errPageToken = invalid(messageInvalidValue, fieldError{"page_token", "is not one of this list"})

// openPage reads which page a request asks for. Without a size the page has the standard size; 0 is everything.
func openPage(req pageRequest, standard int) (page, error) {
	p := page{size: int(req.GetPageSize()), question: questionOf(req)}
	if p.size < 0 || p.size > maxPage {
		return p, invalid(messageInvalidValue, fieldError{"page_size", fmt.Sprintf("must be from 0 to %d", maxPage)})
	}
	p.size = cmp.Or(p.size, standard)
	if text := req.GetPageToken(); text != "" {
		var token pageToken
		data, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(data, &token) != nil || token.Question != p.question {
			return p, errPageToken
		}
		p.after = &token.After
	}
	return p, nil
}

// token is what asks for the page after the one that ends with an item.
func (p page) token(last position) string {
	data, _ := json.Marshal(pageToken{last, p.question}) // numbers and text: cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}

// paginate cuts the page that a request asks for out of a list in order of its positions.
func paginate[T any](list []T, req pageRequest, standard int, of func(T) position) (items []T, next string, err error) {
	p, err := openPage(req, standard)
	if err != nil {
		return nil, "", err
	}
	if p.after != nil {
		list = slices.DeleteFunc(list, func(x T) bool { return of(x).compare(*p.after) <= 0 })
	}
	if p.size == 0 || len(list) <= p.size {
		return list, "", nil
	}
	return list[:p.size], p.token(of(list[p.size-1])), nil
}

// questionOf is a number for all that a request asks besides the page.
func questionOf(req pageRequest) uint64 {
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

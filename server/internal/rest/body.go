package rest

import (
	"bytes"
	"context"
	"io"
)

// requestBody is the JSON body of a request, of no more than so many objects. It keeps what is wrong with it: the gateway passes on
// nothing but a text.
type requestBody struct {
	io.ReadCloser
	objects int
	fault   *jsonFault
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.objects += bytes.Count(p[:n], []byte{'{'}); b.objects > maxParts {
		return n, errParts
	}
	return n, err
}

// bodyKey is where the body of a request is in its context.
type bodyKey struct{}

// faultOf is what was found wrong with the body of a request; nil: nothing.
func faultOf(ctx context.Context) *jsonFault {
	if b, ok := ctx.Value(bodyKey{}).(*requestBody); ok {
		return b.fault
	}
	return nil
}

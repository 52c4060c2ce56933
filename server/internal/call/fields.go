package call

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/store"
)

// Timestamp writes an instant as the contract does; one that never was has no timestamp.
func Timestamp(i store.Instant) *timestamppb.Timestamp {
	if i.IsZero() {
		return nil
	}
	return timestamppb.New(i.Time)
}

// OptionalID writes an id as the contract does; no id is the empty text.
func OptionalID(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

// Limits of what callers send.
const (
	MaxMessage     = 4 << 20 // bytes of a message
	MaxStringBytes = 128     // of a name
)

// ParseID reads a UUID in its canonical form, other than the nil UUID.
func ParseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil {
		return uuid.Nil, errors.New("must be a UUID")
	}
	return id, nil
}

// ParseTime reads a timestamp that must be there, from 1970 on.
func ParseTime(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, errors.New("is required")
	}
	if t.CheckValid() != nil || t.GetSeconds() < 0 {
		return time.Time{}, errors.New("must be a time from 1970 on")
	}
	return t.AsTime(), nil
}

// CheckText refuses what names may not hold.
func CheckText(s string) error {
	if len(s) > MaxStringBytes {
		return fmt.Errorf("%d bytes, at most %d", len(s), MaxStringBytes)
	}
	for _, r := range s {
		if store.IsControl(r) {
			return errors.New("control characters are not allowed")
		}
	}
	return nil
}

// Shorten keeps what a caller sent from filling the answer.
func Shorten(text string) string {
	const most = 64
	if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// Union sorts a list of ids in place and leaves each once.
func Union(ids []uuid.UUID) []uuid.UUID {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// Texts writes ids as the contract does.
func Texts(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}

package server

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/store"
)

// Limits of what callers send.
const (
	maxMessage     = 4 << 20 // bytes of a message
	maxStringBytes = 128     // of a name
)

// parseID reads a UUID in its canonical form, other than the nil UUID.
func parseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil {
		return uuid.Nil, errors.New("must be a UUID")
	}
	return id, nil
}

// parseTime reads a timestamp that must be there, from 1970 on.
func parseTime(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, errors.New("is required")
	}
	if t.CheckValid() != nil || t.GetSeconds() < 0 {
		return time.Time{}, errors.New("must be a time from 1970 on")
	}
	return t.AsTime(), nil
}

// checkText refuses what names may not hold.
func checkText(s string) error {
	if len(s) > maxStringBytes {
		return fmt.Errorf("%d bytes, at most %d", len(s), maxStringBytes)
	}
	for _, r := range s {
		if store.IsControl(r) {
			return errors.New("control characters are not allowed")
		}
	}
	return nil
}

// shorten keeps what a caller sent from filling the answer.
func shorten(text string) string {
	const most = 64
	if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Messages that clients know.
const (
	messageInvalidValues   = "Query parameters have invalid values."
	messageInvalidValue    = "Query parameter has invalid value."
	messageInvalidFields   = "The body has fields with invalid values."
	messageNotFound        = "Resource not found or you do not have access to this resource"
	messageForbidden       = "Forbidden."
	messageUnauthenticated = "A valid token is needed."
)

// errorDomain and the reasons make up the ErrorInfo of every error, for programs to decide by.
const (
	errorDomain = "insights"

	reasonInvalid         = "INVALID"
	reasonUnauthenticated = "UNAUTHENTICATED"
	reasonForbidden       = "FORBIDDEN"
	reasonNotFound        = "NOT_FOUND"
	reasonMode            = "PRIVACY_MODE"
	reasonAggregate       = "PRIVACY_MODE_AGGREGATE"
	reasonTooMany         = "TOO_MANY_REQUESTS"
	reasonTooLarge        = "TOO_LARGE"
	reasonUnavailable     = "UNAVAILABLE"
	reasonInternal        = "INTERNAL"
	reasonNoPrivacyKey    = "NO_PRIVACY_KEY"
	reasonNotListed       = "ERASED_LIST_NOT_WRITABLE"
)

// detailKey holds, in the metadata of ErrorInfo, what REST shows as detail.
const detailKey = "detail"

// fieldError is one field that broke its rule.
type fieldError struct{ Field, Detail string }

// callError is an error as the caller sees it; its cause is for the log only.
type callError struct {
	status *status.Status
	cause  error
}

// Error says all that the caller learns, in one line.
func (e *callError) Error() string {
	text := e.status.Message()
	for _, detail := range e.status.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if more := d.GetMetadata()[detailKey]; more != "" {
				text += " " + more
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				text += fmt.Sprintf(" %s: %s", v.GetField(), v.GetDescription())
			}
		}
	}
	return text
}

func (e *callError) Unwrap() error { return e.cause }

// GRPCStatus is how gRPC finds the status of an error.
func (e *callError) GRPCStatus() *status.Status { return e.status }

// newCallError builds an error with an ErrorInfo and further details.
func newCallError(code codes.Code, reason, message, detail string, cause error, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: errorDomain}
	if detail != "" {
		info.Metadata = map[string]string{detailKey: detail}
	}
	s, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil {
		s = status.New(code, message) // a detail that cannot be encoded is left out
	}
	return &callError{s, cause}
}

// invalid is the error for a request that breaks the rules of fields.
func invalid(message string, fields ...fieldError) error {
	return invalidDetail(message, "", fields...)
}

// invalidDetail is the same for messages that clients know together with a detail.
func invalidDetail(message, detail string, fields ...fieldError) error {
	return newCallError(codes.InvalidArgument, reasonInvalid, message, detail, nil, violations(fields))
}

func violations(fields []fieldError) *errdetails.BadRequest {
	violations := &errdetails.BadRequest{}
	for _, f := range fields {
		violations.FieldViolations = append(violations.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Field, Description: f.Detail})
	}
	return violations
}

// retryAfter is what callers are asked to wait when the server cannot answer.
const retryAfter = time.Second

// unavailable is the error for a call that may succeed a moment later.
func unavailable(cause error) error {
	return newCallError(codes.Unavailable, reasonUnavailable, "The service cannot answer right now; try again.", "", cause,
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
}

// callErrorOf turns any error of a handler into what the caller sees. Text of drivers and of the system never leaves.
func callErrorOf(err error) error {
	var call *callError
	var binding *access.BindingError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &call):
		return call
	case errors.As(err, &binding):
		return invalid(messageInvalidValue, fieldError{binding.Field, binding.Detail})
	case errors.Is(err, store.ErrUnauthenticated), errors.Is(err, access.ErrMalformedToken):
		return newCallError(codes.Unauthenticated, reasonUnauthenticated, messageUnauthenticated, "", err)
	case errors.Is(err, access.ErrNotFound), errors.Is(err, store.ErrUnknown):
		return newCallError(codes.NotFound, reasonNotFound, messageNotFound, "", err)
	case errors.Is(err, store.ErrNoPrivacyKey):
		return newCallError(codes.FailedPrecondition, reasonNoPrivacyKey, "The server has no privacy key: start it with --privacy-key-file.", "", err)
	case errors.Is(err, store.ErrNotListed):
		return newCallError(codes.FailedPrecondition, reasonNotListed, "The list of erased users cannot be written.", "It must be beside the privacy key: --privacy-key-file has to be where the server may write.", err)
	case errors.Is(err, access.ErrForbidden):
		return newCallError(codes.PermissionDenied, reasonForbidden, messageForbidden, "The permission that this call needs is not among your roles.", err)
	case errors.Is(err, context.Canceled):
		return newCallError(codes.Canceled, reasonUnavailable, "The call was canceled.", "", err)
	case errors.Is(err, context.DeadlineExceeded):
		return newCallError(codes.DeadlineExceeded, reasonUnavailable, "The call took too long.", "", err)
	case store.Unavailable(err):
		return unavailable(err)
	}
	if s, ok := status.FromError(err); ok {
		return &callError{s, nil}
	}
	id := uuid.NewString()
	return newCallError(codes.Internal, reasonInternal, "Internal error.", "The log of the server says more under "+id+".", &internalError{id, err})
}

// internalError is an unexpected error with the id under which the caller knows it.
type internalError struct {
	id    string
	cause error
}

func (e *internalError) Error() string { return e.cause.Error() }
func (e *internalError) Unwrap() error { return e.cause }

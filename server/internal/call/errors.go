package call

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	MessageInvalidValues   = "Query parameters have invalid values."
	MessageInvalidValue    = "Query parameter has invalid value."
	MessageInvalidFields   = "The body has fields with invalid values."
	MessageNotFound        = "Resource not found or you do not have access to this resource"
	MessageForbidden       = "Forbidden."
	MessageUnauthenticated = "A valid token is needed."
)

// errorDomain and the reasons make up the ErrorInfo of every error, for programs to decide by.
const (
	errorDomain = "insights"

	ReasonInvalid         = "INVALID"
	reasonUnauthenticated = "UNAUTHENTICATED"
	reasonForbidden       = "FORBIDDEN"
	reasonNotFound        = "NOT_FOUND"
	ReasonMode            = "PRIVACY_MODE"
	ReasonAggregate       = "PRIVACY_MODE_AGGREGATE"
	ReasonLooser          = "PRIVACY_MODE_LOOSER"
	reasonTooMany         = "TOO_MANY_REQUESTS"
	ReasonTooLarge        = "TOO_LARGE"
	reasonUnavailable     = "UNAVAILABLE"
	reasonInternal        = "INTERNAL"
	reasonNoPrivacyKey    = "NO_PRIVACY_KEY"
	reasonNotListed       = "ERASED_LIST_NOT_WRITABLE"
)

// DetailKey holds, in the metadata of ErrorInfo, what REST shows as detail.
const DetailKey = "detail"

// FieldError is one field that broke its rule.
type FieldError struct{ Field, Detail string }

// Error is an error as the caller sees it; its cause is for the log only.
type Error struct {
	Status *status.Status
	Cause  error
}

// Error says all that the caller learns, in one line.
func (e *Error) Error() string {
	text := e.Status.Message()
	for _, detail := range e.Status.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if more := d.GetMetadata()[DetailKey]; more != "" {
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

func (e *Error) Unwrap() error { return e.Cause }

// GRPCStatus is how gRPC finds the status of an error.
func (e *Error) GRPCStatus() *status.Status { return e.Status }

// NewError builds an error with an ErrorInfo and further details.
func NewError(code codes.Code, reason, message, detail string, cause error, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: errorDomain}
	if detail != "" {
		info.Metadata = map[string]string{DetailKey: detail}
	}
	s, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil {
		s = status.New(code, message) // a detail that cannot be encoded is left out
	}
	return &Error{s, cause}
}

// Invalid is the error for a request that breaks the rules of fields.
func Invalid(message string, fields ...FieldError) error {
	return InvalidDetail(message, "", fields...)
}

// InvalidDetail is the same for messages that clients know together with a detail.
func InvalidDetail(message, detail string, fields ...FieldError) error {
	return NewError(codes.InvalidArgument, ReasonInvalid, message, detail, nil, violations(fields))
}

func violations(fields []FieldError) *errdetails.BadRequest {
	violations := &errdetails.BadRequest{}
	for _, f := range fields {
		violations.FieldViolations = append(violations.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: f.Field, Description: f.Detail,
		})
	}
	return violations
}

// RetryAfter is what callers are asked to wait when the server cannot answer.
const RetryAfter = time.Second

// Unavailable is the error for a call that may succeed a moment later.
func Unavailable(cause error) error { return NotReady("", cause) }

// NotReady is the same of a server that says why calls should not come to it; empty: it does not say that.
func NotReady(why string, cause error) error {
	if why != "" {
		why = "The server is not ready: " + why + "."
	}
	return NewError(codes.Unavailable, reasonUnavailable, "The service cannot answer right now; try again.", why, cause,
		&errdetails.RetryInfo{RetryDelay: durationpb.New(RetryAfter)})
}

// ErrorOf turns any error of a handler into what the caller sees. Text of drivers and of the system never leaves.
func ErrorOf(err error) error {
	var call *Error
	var binding *access.BindingError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &call):
		return call
	case errors.As(err, &binding):
		return Invalid(MessageInvalidValue, FieldError{binding.Field, binding.Detail})
	case errors.Is(err, store.ErrUnauthenticated), errors.Is(err, access.ErrMalformedToken):
		return NewError(codes.Unauthenticated, reasonUnauthenticated, MessageUnauthenticated, "", err)
	case errors.Is(err, access.ErrNotFound), errors.Is(err, store.ErrUnknown):
		return NewError(codes.NotFound, reasonNotFound, MessageNotFound, "", err)
	case errors.Is(err, store.ErrNoPrivacyKey):
		return NewError(
			codes.FailedPrecondition, reasonNoPrivacyKey, "The server has no privacy key: start it with --privacy-key-file.", "", err,
		)
	case errors.Is(err, store.ErrNotListed):
		return NewError(
			codes.FailedPrecondition, reasonNotListed, "The server cannot write the list of erased users: see --erased-list.",
			"It has to be a file that the server may write, and that outlives server and database.", err,
		)
	case errors.Is(err, access.ErrForbidden):
		return NewError(
			codes.PermissionDenied, reasonForbidden, MessageForbidden, "The permission that this call needs is not among your roles.", err,
		)
	case errors.Is(err, context.Canceled):
		return NewError(codes.Canceled, reasonUnavailable, "The call was canceled.", "", err)
	case errors.Is(err, context.DeadlineExceeded):
		return NewError(codes.DeadlineExceeded, reasonUnavailable, "The call took too long.", "", err)
	case store.Unavailable(err):
		return Unavailable(err)
	}
	if s, ok := status.FromError(err); ok {
		return &Error{s, nil}
	}
	id := uuid.NewString()
	return NewError(
		codes.Internal, reasonInternal, "Internal error.", "The log of the server says more under "+id+".", &InternalError{id, err},
	)
}

// InternalError is an unexpected error with the id under which the caller knows it.
type InternalError struct {
	ID    string
	Cause error
}

func (e *InternalError) Error() string { return e.Cause.Error() }

func (e *InternalError) Unwrap() error { return e.Cause }

// TooMany is the error for a caller who asks too often.
func TooMany(wait time.Duration) error {
	return NewError(codes.ResourceExhausted, reasonTooMany, "Too many requests; wait a moment.", "", nil,
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
}

// OneOf returns the value of a field if it is among those that are allowed, or else the error that lists these.
func OneOf[T ~string](field string, value T, allowed ...T) (T, error) {
	if !slices.Contains(allowed, value) {
		return "", Invalid(MessageInvalidValue, NotOneOf(field, allowed...))
	}
	return value, nil
}

// NotOneOf says that the value of a field is not among those that are allowed.
func NotOneOf[T ~string](field string, allowed ...T) FieldError {
	return FieldError{field, fmt.Sprintf("must be one of %v", allowed)}
}

// Param is how a text begins that says what is wrong with a parameter.
func Param(field string) string { return fmt.Sprintf("Query param %q ", field) }

// InvalidParam says what is wrong with one parameter.
func InvalidParam(field, format string, args ...any) error {
	return Invalid(MessageInvalidValue, FieldError{field, Param(field) + fmt.Sprintf(format, args...)})
}

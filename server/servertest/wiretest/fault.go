package wiretest

import (
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Faults are the fields that an InvalidArgument names, with what is wrong with them.
func Faults(t *testing.T, err error) []string {
	t.Helper()
	s := status.Convert(err)
	if err != nil && s.Code() != codes.InvalidArgument {
		t.Fatalf("got %v, want InvalidArgument", err)
	}
	var list []string
	for _, d := range s.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				list = append(list, v.GetField()+": "+v.GetDescription())
			}
		}
	}
	return list
}

// DetailOf is what an error says beside its message.
func DetailOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["detail"]
		}
	}
	return ""
}

package rest

import (
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// SessionPath is where the page asks who is signed in.
const SessionPath = "/sign-in/session"

// serveSession answers as WhoAmI does, and null if nobody is signed in: browsers write every error down, and that is none.
func serveSession(api *runtime.ServeMux, accounts insightsv1.AccessServiceClient) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, err := runtime.AnnotateContext(r.Context(), api, r, insightsv1.AccessService_WhoAmI_FullMethodName)
		body := []byte("null")
		if err == nil {
			var me *insightsv1.WhoAmIResponse
			if me, err = accounts.WhoAmI(ctx, &insightsv1.WhoAmIRequest{}); err == nil {
				body, err = JSONMarshaler{}.Marshal(me)
			}
		}
		if err != nil && status.Code(err) != codes.Unauthenticated {
			writeError(r.Context(), api, nil, w, r, err)
			return
		}
		w.Header().Set("Content-Type", JSONMarshaler{}.ContentType(nil))
		_, _ = w.Write(body)
	}
}

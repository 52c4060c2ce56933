package rest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/template-insights/insights/server/internal/call"
)

// ExportRoute is where tables of answers can be had as files: with the parameters of the question, and format.
const ExportRoute = "/api/v2/insights/export/{table}"

// DefaultExportFormat is the kind of file that is made when none is asked for.
const DefaultExportFormat = "csv"

// ExportFormats are the kinds of files.
var ExportFormats = map[string]struct {
	ContentType string
	Open        func(io.Writer, []Column) (rowWriter, error)
}{
	"csv":     {"text/csv; charset=utf-8; header=present", newCSVWriter},
	"ndjson":  {"application/x-ndjson", newNDJSONWriter},
	"parquet": {"application/vnd.apache.parquet", newParquetWriter},
}

// rowWriter writes the rows of a table to a file. What it is given is the caller's again when it returns.
type rowWriter interface {
	Write(row []protoreflect.Value) error
	Close() error
}

// ExportSource is a table and what the contract says of it.
type ExportSource struct {
	exportTable
	Columns         []Column
	request, Answer protoreflect.MessageType
}

// ExportSources are all tables, by name.
func ExportSources() (map[string]ExportSource, error) {
	sources := map[string]ExportSource{}
	for _, t := range ExportTables {
		from := ExportSource{exportTable: t}
		rpc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(t.Method[1:], "/", ".")))
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		for _, of := range []struct {
			message protoreflect.MessageDescriptor
			found   *protoreflect.MessageType
		}{{rpc.(protoreflect.MethodDescriptor).Input(), &from.request}, {rpc.(protoreflect.MethodDescriptor).Output(), &from.Answer}} {
			if *of.found, err = protoregistry.GlobalTypes.FindMessageByName(of.message.FullName()); err != nil {
				return nil, fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		if from.Columns, err = t.columns(from.Answer.Descriptor()); err != nil {
			return nil, err
		}
		sources[t.Name] = from
	}
	return sources, nil
}

// export answers the question that a table belongs to, like any other REST call, with a file of its rows.
func (g *Gateway) export(api *runtime.ServeMux, sources map[string]ExportSource) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		from, known := sources[path["table"]]
		if !known {
			writeRoutingError(r.Context(), api, nil, w, r, http.StatusNotFound)
			return
		}
		r = r.Clone(r.Context())
		query := r.URL.Query()
		format, err := takeFormat(query)
		if err != nil {
			writeError(r.Context(), api, nil, w, r, err)
			return
		}
		r.URL.RawQuery = query.Encode()
		ctx, err := runtime.AnnotateContext(r.Context(), api, r, from.Method, runtime.WithHTTPPathPattern(ExportRoute))
		if err != nil {
			writeError(r.Context(), api, nil, w, r, err)
			return
		}
		answer, err := g.ask(ctx, from, query)
		if err != nil {
			writeError(ctx, api, nil, w, r, err)
			return
		}
		w.Header().Set("Content-Type", ExportFormats[format].ContentType)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", from.Name+"."+format))
		rows, err := ExportFormats[format].Open(w, from.Columns)
		if err == nil {
			if err = from.Walk(answer, rows.Write); err == nil {
				err = rows.Close()
			}
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a file that is cut must not pass for a whole one
		}
	}
}

// takeFormat takes the kind of file out of a query; the rest of it belongs to the question.
func takeFormat(query url.Values) (string, error) {
	formats := query["format"]
	query.Del("format")
	switch {
	case len(formats) > 1:
		return "", call.Invalid(call.MessageInvalidValues, call.FieldError{
			Field: "format", Detail: `Query param "format" must be given once`,
		})
	case len(formats) == 0 || formats[0] == "":
		return DefaultExportFormat, nil
	}
	return call.OneOf("format", formats[0], slices.Sorted(maps.Keys(ExportFormats))...)
}

// ask makes the call that a table comes from.
func (g *Gateway) ask(ctx context.Context, from ExportSource, query url.Values) (protoreflect.Message, error) {
	request, answer := from.request.New().Interface(), from.Answer.New().Interface()
	if err := runtime.PopulateQueryParameters(request, query, utilities.NewDoubleArray(nil)); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := g.connection.Invoke(ctx, from.Method, request, answer); err != nil {
		return nil, err
	}
	return answer.ProtoReflect(), nil
}

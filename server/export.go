package server

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
)

// exportRoute is where tables of answers can be had as files: with the parameters of the question, and format.
const exportRoute = "/api/v2/insights/export/{table}"

// exportFormats are the kinds of files.
var exportFormats = map[string]struct {
	contentType string
	open        func(io.Writer, []column) (rowWriter, error)
}{
	"csv":     {"text/csv; charset=utf-8; header=present", newCSVWriter},
	"ndjson":  {"application/x-ndjson", newNDJSONWriter},
	"parquet": {"application/vnd.apache.parquet", newParquetWriter},
}

// rowWriter writes the rows of a table to a file. What it is given is the caller's again when it returns.
type rowWriter interface {
	write(row []protoreflect.Value) error
	close() error
}

// exportSource is a table and what the contract says of it.
type exportSource struct {
	exportTable
	columns         []column
	request, answer protoreflect.MessageType
}

// exportSources are all tables, by name.
func exportSources() (map[string]exportSource, error) {
	sources := map[string]exportSource{}
	for _, t := range exportTables {
		from := exportSource{exportTable: t}
		rpc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(t.method[1:], "/", ".")))
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		for _, of := range []struct {
			message protoreflect.MessageDescriptor
			found   *protoreflect.MessageType
		}{{rpc.(protoreflect.MethodDescriptor).Input(), &from.request}, {rpc.(protoreflect.MethodDescriptor).Output(), &from.answer}} {
			if *of.found, err = protoregistry.GlobalTypes.FindMessageByName(of.message.FullName()); err != nil {
				return nil, fmt.Errorf("table %s: %w", t.name, err)
			}
		}
		if from.columns, err = t.columns(from.answer.Descriptor()); err != nil {
			return nil, err
		}
		sources[t.name] = from
	}
	return sources, nil
}

// export answers the question that a table belongs to, like any other REST call, with a file of its rows.
func (g *gateway) export(api *runtime.ServeMux, sources map[string]exportSource) runtime.HandlerFunc {
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
		ctx, err := runtime.AnnotateContext(r.Context(), api, r, from.method, runtime.WithHTTPPathPattern(exportRoute))
		if err != nil {
			writeError(r.Context(), api, nil, w, r, err)
			return
		}
		answer, err := g.ask(ctx, from, query)
		if err != nil {
			writeError(ctx, api, nil, w, r, err)
			return
		}
		w.Header().Set("Content-Type", exportFormats[format].contentType)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", from.name+"."+format))
		rows, err := exportFormats[format].open(w, from.columns)
		if err == nil {
			if err = from.walk(answer, rows.write); err == nil {
				err = rows.close()
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
		return "", invalid(messageInvalidValues, fieldError{"format", `Query param "format" must be given once`})
	case len(formats) == 0 || formats[0] == "":
		return "csv", nil
	}
	if _, known := exportFormats[formats[0]]; !known {
		return "", oneOf("format", slices.Sorted(maps.Keys(exportFormats))...)
	}
	return formats[0], nil
}

// ask makes the call that a table comes from.
func (g *gateway) ask(ctx context.Context, from exportSource, query url.Values) (protoreflect.Message, error) {
	request, answer := from.request.New().Interface(), from.answer.New().Interface()
	if err := runtime.PopulateQueryParameters(request, query, utilities.NewDoubleArray(nil)); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := g.connection.Invoke(ctx, from.method, request, answer); err != nil {
		return nil, err
	}
	return answer.ProtoReflect(), nil
}

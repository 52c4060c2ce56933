package rest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
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
		query := r.URL.Query()
		format, err := takeFormat(query)
		var file exportFile
		if err == nil {
			file, err = g.ask(api, r, from, query)
		}
		if err != nil {
			writeError(r.Context(), api, nil, w, r, err)
			return
		}
		w.Header().Set("Content-Type", ExportFormats[format].ContentType)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", file.name(format)))
		if file.write(w, format) != nil {
			panic(http.ErrAbortHandler) // a file that is cut must not pass for a whole one
		}
	}
}

// exportFile is a table with the answer that its rows are in.
type exportFile struct {
	ExportSource
	answer protoreflect.Message
	zone   *time.Location // of its dates; nil: the offset of each time
}

func (f exportFile) name(format string) string { return f.Name + "." + format }

func (f exportFile) write(to io.Writer, format string) error {
	rows, err := ExportFormats[format].Open(to, f.Columns)
	if err != nil {
		return err
	}
	if err := f.Walk(f.answer, f.zone, rows.Write); err != nil {
		return err
	}
	return rows.Close()
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

// zoneOf is the time zone of a question that was answered, or nil if its times have offsets alone.
func zoneOf(query url.Values) (*time.Location, error) {
	name := query.Get("timezone")
	if name == "" {
		return nil, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("find time zone of an answered question: %w", err)
	}
	return zone, nil
}

// ask makes the call that a table comes from.
func (g *Gateway) ask(api *runtime.ServeMux, r *http.Request, from ExportSource, query url.Values) (file exportFile, err error) {
	if wrong := checkQuery(from.request.Descriptor(), query); len(wrong) > 0 {
		return file, call.Invalid(call.MessageInvalidValues, wrong...)
	}
	request, answer := from.request.New().Interface(), from.Answer.New().Interface()
	if err := runtime.PopulateQueryParameters(request, query, utilities.NewDoubleArray(nil)); err != nil {
		return file, status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, err := runtime.AnnotateContext(r.Context(), api, r, from.Method, runtime.WithHTTPPathPattern(ExportRoute))
	if err != nil {
		return file, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, call.ExportKey, from.Name)
	if err := g.connection.Invoke(ctx, from.Method, request, answer); err != nil {
		return file, err
	}
	zone, err := zoneOf(query)
	return exportFile{from, answer.ProtoReflect(), zone}, err
}

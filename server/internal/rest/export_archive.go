package rest

import (
	"archive/zip"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/template-insights/insights/server/internal/call"
)

// ArchiveRoute is where several tables can be had in one file: with the parameters of their questions, tables and format.
const ArchiveRoute = "/api/v2/insights/export"

// ArchiveType is the kind of content of such a file.
const ArchiveType = "application/zip"

// exportAll answers the questions that tables belong to, each once, with a file that holds the files of all tables.
func (g *Gateway) exportAll(api *runtime.ServeMux, sources map[string]ExportSource) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
		query := r.URL.Query()
		format, err := takeFormat(query)
		var files []exportFile
		if err == nil {
			files, err = g.askAll(api, r, sources, query)
		}
		if err != nil {
			writeError(r.Context(), api, nil, w, r, err)
			return
		}
		w.Header().Set("Content-Type", ArchiveType)
		w.Header().Set("Content-Disposition", `attachment; filename="insights.zip"`)
		if writeArchive(w, files, format) != nil {
			panic(http.ErrAbortHandler) // as a single file that is cut
		}
	}
}

func writeArchive(w http.ResponseWriter, files []exportFile, format string) error {
	archive := zip.NewWriter(w)
	for _, file := range files {
		// the real clock: what unpacks the file shows when it was made
		to, err := archive.CreateHeader(&zip.FileHeader{Name: file.name(format), Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			return err
		}
		if err := file.write(to, format); err != nil {
			return err
		}
	}
	return archive.Close()
}

// askAll makes the calls that the tables of a query come from. Tables of one question share its answer.
func (g *Gateway) askAll(
	api *runtime.ServeMux, r *http.Request, sources map[string]ExportSource, query url.Values,
) (files []exportFile, err error) {
	tables, err := takeTables(query, sources)
	if err != nil {
		return nil, err
	}
	answered := map[string]exportFile{} // by method
	for _, from := range tables {
		file, asked := answered[from.Method]
		if !asked {
			if file, err = g.ask(api, r, from, shareOf(query, from, tables)); err != nil {
				return nil, err
			}
			answered[from.Method] = file
		}
		file.ExportSource = from
		files = append(files, file)
	}
	return files, nil
}

// takeTables takes the names of tables out of a query; the rest of it belongs to their questions.
func takeTables(query url.Values, sources map[string]ExportSource) (tables []ExportSource, err error) {
	names := splitList(query["tables"])
	query.Del("tables")
	if len(names) == 0 {
		return nil, call.InvalidParam("tables", "is required and cannot be empty")
	}
	for i, name := range names {
		if _, err := call.OneOf("tables", name, slices.Sorted(maps.Keys(sources))...); err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, call.InvalidParam("tables", "must name each table once")
		}
		tables = append(tables, sources[name])
	}
	return tables, nil
}

// shareOf is the part of a query that belongs to the question of one of the tables: the parameters that the question has. What no
// question has belongs to each, which refuses it.
func shareOf(query url.Values, from ExportSource, tables []ExportSource) url.Values {
	share := url.Values{}
	for name, values := range query {
		has := func(t ExportSource) bool { return queryField(t.request.Descriptor(), name) != nil }
		if has(from) || !slices.ContainsFunc(tables, has) {
			share[name] = values
		}
	}
	return share
}

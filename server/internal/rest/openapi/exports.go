package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/template-insights/insights/server/internal/rest"
)

// Parts of a description in OpenAPI 2.0, as far as they are looked at or written here.
type (
	pathItem  map[string]operation // by method
	operation struct {
		Summary     string                     `json:"summary,omitempty"`
		OperationID string                     `json:"operationId"`
		Produces    []string                   `json:"produces,omitempty"`
		Responses   map[string]json.RawMessage `json:"responses"`
		Parameters  []parameter                `json:"parameters,omitempty"`
		Tags        []string                   `json:"tags,omitempty"`
	}
	parameter struct {
		Name             string          `json:"name"`
		Description      string          `json:"description,omitempty"`
		In               string          `json:"in"`
		Required         bool            `json:"required"`
		Type             string          `json:"type,omitempty"`
		Format           string          `json:"format,omitempty"`
		Items            json.RawMessage `json:"items,omitempty"`
		CollectionFormat string          `json:"collectionFormat,omitempty"`
		Enum             []string        `json:"enum,omitempty"`
		Default          string          `json:"default,omitempty"`
	}
)

// exportPaths describes the routes of files. Each takes the parameters of the question that its table belongs to.
func exportPaths(document []byte) (map[string]pathItem, error) {
	var described struct{ Paths map[string]pathItem }
	if err := json.Unmarshal(document, &described); err != nil {
		return nil, err
	}
	questions := map[string]operation{}
	for _, item := range described.Paths {
		for _, o := range item {
			questions[o.OperationID] = o
		}
	}
	paths, exports := map[string]pathItem{}, []operation{}
	for _, table := range rest.ExportTables {
		service, name, _ := strings.Cut(table.Method[strings.LastIndex(table.Method, ".")+1:], "/")
		question, found := questions[service+"_"+name]
		if !found {
			return nil, fmt.Errorf("table %s: the question %s is not described", table.Name, table.Method)
		}
		export, err := exportOf(question, table.Name)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table.Name, err)
		}
		paths[strings.Replace(rest.ExportRoute, "{table}", table.Name, 1)] = pathItem{"get": export}
		exports = append(exports, export)
	}
	archive, err := archiveOf(exports)
	if err != nil {
		return nil, err
	}
	paths[rest.ArchiveRoute] = pathItem{"get": archive}
	return paths, nil
}

// exportOf describes the route of one file.
func exportOf(question operation, table string) (operation, error) {
	formats := slices.Sorted(maps.Keys(rest.ExportFormats))
	export := operation{
		Summary:     fmt.Sprintf("The table %s as a file. Question, rights and errors are those of %s.", table, question.OperationID),
		OperationID: "Export_" + strings.ReplaceAll(table, "-", "_"),
		Responses: map[string]json.RawMessage{
			"200":     json.RawMessage(`{"description": "The file.", "schema": {"type": "file"}}`),
			"default": question.Responses["default"],
		},
		Parameters: []parameter{{
			Name: "format", Description: "The kind of file.", In: "query", Type: "string", Enum: formats, Default: rest.DefaultExportFormat,
		}},
		Tags: question.Tags,
	}
	for _, format := range formats {
		kind, _, err := mime.ParseMediaType(rest.ExportFormats[format].ContentType)
		if err != nil {
			return export, err
		}
		export.Produces = append(export.Produces, kind)
	}
	export.Produces = append(export.Produces, "application/json") // errors
	for _, p := range question.Parameters {
		p.In = "query" // also what is a part of the question's path
		export.Parameters = append(export.Parameters, p)
	}
	return export, nil
}

// archiveOf describes the route of many files, of the routes of one.
func archiveOf(exports []operation) (operation, error) {
	var tables struct {
		Type string   `json:"type"`
		Enum []string `json:"enum"`
	}
	tables.Type = "string"
	for _, table := range rest.ExportTables {
		tables.Enum = append(tables.Enum, table.Name)
	}
	items, err := json.Marshal(tables)
	if err != nil {
		return operation{}, err
	}
	archive := operation{
		Summary:     "Several tables in one archive, a file of each. Parameters, rights and errors are those of their questions.",
		OperationID: "Export_archive",
		Produces:    []string{rest.ArchiveType, "application/json"}, // errors
		Responses:   exports[0].Responses,
		Parameters: []parameter{{
			Name: "tables", Description: "Names of tables, separated by commas. Required.", In: "query", Required: true, Type: "array",
			Items: items, CollectionFormat: "csv",
		}},
		Tags: exports[0].Tags,
	}
	for _, export := range exports {
		for _, p := range export.Parameters {
			if slices.ContainsFunc(archive.Parameters, func(known parameter) bool { return known.Name == p.Name }) {
				continue
			}
			p.Required = false // where no table needs it
			archive.Parameters = append(archive.Parameters, p)
		}
	}
	return archive, nil
}

package main

import (
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModules(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8", Path: "example.com/house/cmd/program", Main: debug.Module{Path: "example.com/house", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.2.3+incompatible", Sum: "h1:a="},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0"}},
		},
		Settings: []debug.BuildSetting{
			{Key: "GOOS", Value: "linux"},
			{Key: "GOARCH", Value: "amd64"},
			{Key: "CGO_ENABLED", Value: "0"},
			{Key: "-trimpath", Value: "true"},
		},
	}
	got := newBOM(info, "v1.0.0", "0a")
	want := bom{BOMFormat: "CycloneDX", SpecVersion: "1.5", Version: 1, Components: []component{
		{Type: "library", Ref: "pkg:golang/std@go1.26.8", Name: "std", Version: "go1.26.8", PURL: "pkg:golang/std@go1.26.8"},
		{
			Type: "library", Ref: "pkg:golang/example.com/a@v1.2.3+incompatible", Name: "example.com/a", Version: "v1.2.3+incompatible",
			PURL: "pkg:golang/example.com/a@v1.2.3+incompatible", Properties: []property{{"go.sum", "h1:a="}},
		},
		{
			Type: "library", Ref: "pkg:golang/example.com/c@v2.0.0", Name: "example.com/c", Version: "v2.0.0",
			PURL: "pkg:golang/example.com/c@v2.0.0",
		},
	}}
	want.Metadata.Component = component{
		Type: "application", Ref: "pkg:golang/example.com/house/cmd/program@v1.0.0", Name: "example.com/house/cmd/program",
		Version: "v1.0.0", PURL: "pkg:golang/example.com/house/cmd/program@v1.0.0", Hashes: []hash{{"SHA-256", "0a"}},
		Properties: []property{{"GOOS", "linux"}, {"GOARCH", "amd64"}, {"CGO_ENABLED", "0"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The page's list has what it is made of, and not what it is built with.
func TestPage(t *testing.T) {
	t.Parallel()
	lock, err := os.ReadFile("../../web/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pageComponents(lock)
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(c component) bool {
			return c.Name == name && c.Version != "" && len(c.Hashes) == 1 && len(c.Hashes[0].Content) == 128
		})
	}
	if !has("uplot") || has("vite") {
		t.Errorf("packages: %+v", all)
	}
}

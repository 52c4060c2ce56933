// Command sbom writes down what a program is made of, as CycloneDX: the modules that are compiled into it, as it says itself, and
// the packages of its page. The same program always gives the same text.
//
//	sbom -page web/package-lock.json insights > insights.cdx.json
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	page := flag.String("page", "", "the package-lock.json of the page that is in the program")
	version := flag.String("version", "", "the version of the program")
	flag.Parse()
	if err := run(flag.Arg(0), *page, *version); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(path, page, version string) error {
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(program)
	b := newBOM(info, version, hex.EncodeToString(sum[:]))
	if page != "" {
		lock, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		packages, err := pageComponents(lock)
		if err != nil {
			return fmt.Errorf("read %s: %w", page, err)
		}
		b.Components = append(b.Components, packages...)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(b)
}

// bom is a CycloneDX document, as far as it is needed here.
type bom struct {
	BOMFormat   string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Version     int    `json:"version"`
	Metadata    struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// newBOM lists the modules of a program.
func newBOM(info *debug.BuildInfo, version, sha256 string) bom {
	b := bom{BOMFormat: "CycloneDX", SpecVersion: "1.5", Version: 1}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	program := newComponent("application", "pkg:golang/"+info.Path, info.Path, cmp.Or(version, info.Main.Version))
	program.Hashes = []hash{{"SHA-256", sha256}}
	for _, name := range []string{"GOOS", "GOARCH", "CGO_ENABLED"} {
		program.Properties = append(program.Properties, property{name, settings[name]})
	}
	b.Metadata.Component = program
	b.Components = []component{newComponent("library", "pkg:golang/std", "std", info.GoVersion)}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := newComponent("library", "pkg:golang/"+m.Path, m.Path, m.Version)
		if m.Sum != "" {
			c.Properties = []property{{"go.sum", m.Sum}}
		}
		b.Components = append(b.Components, c)
	}
	return b
}

func newComponent(kind, purl, name, version string) component {
	purl += "@" + url.PathEscape(version)
	return component{Type: kind, Ref: purl, Name: name, Version: version, PURL: purl}
}

// pageComponents lists the packages that a package-lock.json installs for more than development.
func pageComponents(lock []byte) ([]component, error) {
	var file struct {
		Packages map[string]struct {
			Version, Integrity string
			Dev, Link          bool
		}
	}
	if err := json.Unmarshal(lock, &file); err != nil {
		return nil, err
	}
	var all []component
	for path, p := range file.Packages {
		name, ok := strings.CutPrefix(path, "node_modules/")
		if !ok || p.Dev || p.Link {
			continue
		}
		c := newComponent("library", "pkg:npm/"+strings.Replace(name, "@", "%40", 1), name, p.Version)
		if encoded, ok := strings.CutPrefix(p.Integrity, "sha512-"); ok {
			sum, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				return nil, fmt.Errorf("integrity of %s: %w", name, err)
			}
			c.Hashes = []hash{{"SHA-512", hex.EncodeToString(sum)}}
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	return all, nil
}

package rest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/web"
)

// builtPage is the page that people open: files that were built into the program.
type builtPage struct {
	files map[string]asset // by path
}

// asset is one file, plain and compressed.
type asset struct {
	contentType, cacheControl string
	plain, compressed         []byte
}

// newBuiltPage reads the files. The page offers to sign in through the issuer if that is possible, and with a token of the Coder deployment
// at a URL if there is one, and shows pictures of these hosts.
func newBuiltPage(issuer bool, coderURL string, avatarHosts []string) (*builtPage, error) {
	p := &builtPage{files: map[string]asset{}}
	err := fs.WalkDir(web.Files, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := web.Files.ReadFile(name)
		if err != nil {
			return err
		}
		if issuer {
			text = tell(text, "sign-in", "token", "token oidc")
		}
		text = tell(text, "coder-url", "", coderURL)
		text = tell(text, "avatar-hosts", "", strings.Join(avatarHosts, " "))
		name = strings.TrimPrefix(name, "dist")
		p.files[name] = newAsset(name, text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	return p, nil
}

// tell changes what an element of the page says to its scripts.
func tell(text []byte, name, before, now string) []byte {
	element := func(content string) []byte {
		return fmt.Appendf(nil, `<meta name="%s" content="%s"`, name, html.EscapeString(content))
	}
	return bytes.Replace(text, element(before), element(now), 1)
}

// contentTypes are those of the files of the page, whatever the machine calls them.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/vnd.microsoft.icon",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

func newAsset(name string, text []byte) asset {
	a := asset{contentType: contentTypes[path.Ext(name)], cacheControl: "no-cache", plain: text}
	if strings.HasPrefix(name, "/assets/") { // its name changes with what it holds
		a.cacheControl = "public, max-age=31536000, immutable"
	}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level exists
	_, _ = w.Write(text)                                  // into memory
	_ = w.Close()
	a.compressed = b.Bytes()
	return a
}

// index is the file behind every address that people see.
const index = "/index.html"

// templateID is an id in an address, as the page writes it.
var templateID = regexp.MustCompile("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

func (p *builtPage) route(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, index, http.StatusOK) })
	mux.HandleFunc("GET /templates/{template}/insights", func(w http.ResponseWriter, r *http.Request) {
		if !templateID.MatchString(r.PathValue("template")) {
			p.missing(w, r)
			return
		}
		p.serve(w, r, index, http.StatusOK)
	})
	mux.HandleFunc("GET /assets/{file}", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, r.URL.Path, http.StatusOK) })
	for name := range p.files {
		if name != index && !strings.HasPrefix(name, "/assets/") {
			mux.HandleFunc("GET "+name, func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, name, http.StatusOK) })
		}
	}
	mux.HandleFunc("/", p.missing)
}

// missing answers where nothing is: people see the page, which says so.
func (p *builtPage) missing(w http.ResponseWriter, r *http.Request) {
	if _, built := p.files[index]; !built || r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/api/") {
		writeRoutingError(r.Context(), nil, nil, w, r, http.StatusNotFound)
		return
	}
	p.serve(w, r, index, http.StatusNotFound)
}

func (p *builtPage) serve(w http.ResponseWriter, r *http.Request, name string, status int) {
	a, found := p.files[name]
	switch {
	case !found && name == index:
		fmt.Fprintln(
			w,
			"Template Insights. The API is described at /openapi.json. This program was built without the page: install Node.js 20.19 or "+
				"later and run make build to get it.",
		)
		return
	case !found:
		writeRoutingError(r.Context(), nil, nil, w, r, http.StatusNotFound)
		return
	}
	body := a.plain
	w.Header().Set("Vary", "Accept-Encoding")
	if exposition.AcceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		body = a.compressed
	}
	w.Header().Set("Cache-Control", a.cacheControl)
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

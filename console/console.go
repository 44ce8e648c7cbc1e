// Package console is the web page over the collector's JSON API: built files, embedded.
//
// src/ is its TypeScript; `npm ci && npm run build` makes dist/ from it, byte for byte what is committed.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed dist
var dist embed.FS

// FS holds index.html and assets/.
func FS() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant, and the folder is embedded
	}
	return sub
}

// Policy lets the page load nothing that is not its own, and run no script or style that is not a file.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// mediaTypes are spelled out, since the machine's own table may lack them.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".woff2": "font/woff2",
}

type page struct {
	body      []byte
	etag      string
	mediaType string
}

// Handler serves the console: files under /assets/, and the page itself at every other path, since its script reads
// the path. Mount it behind everything else.
func Handler() http.Handler {
	pages := map[string]page{}
	err := fs.WalkDir(FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(FS(), name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		mediaType := mediaTypes[path.Ext(name)]
		if mediaType == "" {
			mediaType = "text/plain; charset=utf-8"
		}
		pages["/"+name] = page{body: body, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, mediaType: mediaType}
		return nil
	})
	if err != nil {
		panic(err) // reading embedded files cannot fail
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the console is only read", http.StatusMethodNotAllowed)
			return
		}
		p, ok := pages[r.URL.Path]
		if !ok {
			if strings.HasPrefix(r.URL.Path, "/assets/") {
				http.NotFound(w, r)
				return
			}
			p = pages["/index.html"]
		}
		h := w.Header()
		h.Set("Content-Type", p.mediaType)
		h.Set("ETag", p.etag)
		h.Set("Cache-Control", "no-cache") // ask each time: a new collector must not meet an old page
		h.Set("Content-Security-Policy", Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.body))
	})
}

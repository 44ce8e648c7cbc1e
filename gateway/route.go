package gateway

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"weft/gateway/middleware"
	"weft/internal/config"
)

// table finds the route of a request. It never changes.
type table struct {
	entries   []*entry
	exact     map[string]*node // by host
	wildcards []wildcard       // longest suffix first
	every     *node            // any host
}

type wildcard struct {
	suffix string // ".example.com"
	root   *node
}

// node is one place in the tree of path segments.
type node struct {
	literal map[string]*node
	param   *node
	here    []*entry // routes whose template ends here
	rest    []*entry // routes that take whatever follows
}

// entry is a route in the tree.
type entry struct {
	route   *Route
	methods []string // empty is any
	matched *middleware.Matched
}

func newTable(routes []Route) (*table, error) {
	t := &table{exact: map[string]*node{}, every: &node{}}
	for i := range routes {
		r := &routes[i]
		e := &entry{route: r, methods: r.methods(), matched: &middleware.Matched{Name: r.Name, Pattern: r.pattern()}}
		segments, err := parsePattern(r.pattern())
		if err != nil {
			return nil, config.Faultf(fmt.Sprintf("routes[%d].%s", i, r.pathKey()), "%v", err)
		}
		if other := t.root(r.Host).insert(segments, e); other != nil {
			return nil, config.Faultf(fmt.Sprintf("routes[%d]", i), "takes the same requests as route %q", other.route.Name)
		}
		t.entries = append(t.entries, e)
	}
	slices.SortFunc(t.wildcards, func(a, b wildcard) int { return len(b.suffix) - len(a.suffix) })
	return t, nil
}

// root is the tree of a host, made at first use.
func (t *table) root(host string) *node {
	host = strings.ToLower(host)
	if host == "" {
		return t.every
	}
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		for _, w := range t.wildcards {
			if w.suffix == suffix {
				return w.root
			}
		}
		t.wildcards = append(t.wildcards, wildcard{suffix, &node{}})
		return t.wildcards[len(t.wildcards)-1].root
	}
	if t.exact[host] == nil {
		t.exact[host] = &node{}
	}
	return t.exact[host]
}

// insert returns the route that already takes the same requests, or nil.
func (n *node) insert(segments []segment, e *entry) (other *entry) {
	for _, s := range segments {
		switch {
		case s.rest:
			n.rest, other = addEntry(n.rest, e)
			return other
		case s.param:
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
		default:
			if n.literal == nil {
				n.literal = map[string]*node{}
			}
			if n.literal[s.text] == nil {
				n.literal[s.text] = &node{}
			}
			n = n.literal[s.text]
		}
	}
	n.here, other = addEntry(n.here, e)
	return other
}

// addEntry keeps entries with methods before the one that takes any.
func addEntry(list []*entry, e *entry) (all []*entry, other *entry) {
	for _, o := range list {
		if len(o.methods) == 0 && len(e.methods) == 0 || slices.ContainsFunc(e.methods, func(m string) bool { return slices.Contains(o.methods, m) }) {
			return list, o
		}
	}
	if len(e.methods) > 0 {
		return append([]*entry{e}, list...), nil
	}
	return append(list, e), nil
}

// search is one lookup: it stops at the first entry that takes the method, and remembers what others would have taken.
type search struct {
	method string
	allow  map[string]bool
}

// find returns the most specific route for the method; failing that, the methods that the path is there for.
func (t *table) find(method, host, path string) (*entry, []string) {
	s := search{method: method}
	segments := split(path)
	for _, root := range t.roots(host) {
		if e := s.descend(root, segments); e != nil {
			return e, nil
		}
	}
	return nil, slices.Sorted(maps.Keys(s.allow))
}

// roots are the trees for a host, most specific first.
func (t *table) roots(host string) []*node {
	if len(t.exact) == 0 && len(t.wildcards) == 0 {
		return []*node{t.every}
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	var out []*node
	if root := t.exact[host]; root != nil {
		out = append(out, root)
	}
	for _, w := range t.wildcards {
		if strings.HasSuffix(host, w.suffix) && len(host) > len(w.suffix) {
			out = append(out, w.root)
		}
	}
	return append(out, t.every)
}

// descend goes as deep as it can before it settles for less: a literal before a parameter before the rest.
func (s *search) descend(n *node, segments []string) *entry {
	if len(segments) == 0 {
		if e := s.choose(n.here); e != nil {
			return e
		}
		return s.choose(n.rest) // the prefix itself
	}
	if next := n.literal[segments[0]]; next != nil {
		if e := s.descend(next, segments[1:]); e != nil {
			return e
		}
	}
	if n.param != nil && segments[0] != "" {
		if e := s.descend(n.param, segments[1:]); e != nil {
			return e
		}
	}
	return s.choose(n.rest)
}

func (s *search) choose(list []*entry) *entry {
	for _, e := range list {
		if len(e.methods) == 0 || slices.Contains(e.methods, s.method) {
			return e
		}
		if s.allow == nil {
			s.allow = map[string]bool{}
		}
		for _, m := range e.methods {
			s.allow[m] = true
		}
	}
	return nil
}

// split cuts a decoded path into segments. Repeated slashes count as one, because most services take them so: a route
// must not be got round by writing //admin. A trailing slash is a last, empty segment.
func split(path string) []string {
	out := make([]string, 0, 8)
	path = strings.TrimLeft(path, "/")
	if path == "" {
		return out
	}
	for {
		segment, after, more := strings.Cut(path, "/")
		out = append(out, segment)
		if !more {
			return out
		}
		if path = strings.TrimLeft(after, "/"); path == "" {
			return append(out, "")
		}
	}
}

// segment of a pattern: a literal, {param}, or {rest...} at its end.
type segment struct {
	text        string
	param, rest bool
}

var variable = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}$`)

// pattern is the route's template; a prefix is one whose rest is free.
func (r *Route) pattern() string {
	if r.Path != "" {
		return r.Path
	}
	return strings.TrimSuffix(r.PathPrefix, "/") + "/{rest...}"
}

func parsePattern(pattern string) ([]segment, error) {
	if !strings.HasPrefix(pattern, "/") || strings.Contains(pattern, "//") {
		return nil, fmt.Errorf("%q: want a path such as /api/items/{id}", pattern)
	}
	var out []segment
	names := map[string]bool{}
	texts := split(pattern)
	for i, text := range texts {
		m := variable.FindStringSubmatch(text)
		switch {
		case m == nil && strings.ContainsAny(text, "{}"):
			return nil, fmt.Errorf("%q: a parameter is a whole segment, {name} or {name...}", pattern)
		case m == nil && (text == "." || text == ".."):
			return nil, fmt.Errorf("%q: has a dot segment", pattern)
		case m == nil:
			out = append(out, segment{text: text})
			continue
		case names[m[1]]:
			return nil, fmt.Errorf("%q: parameter %s is there twice", pattern, m[1])
		case m[2] != "" && i != len(texts)-1:
			return nil, fmt.Errorf("%q: {%s...} is not at the end", pattern, m[1])
		}
		names[m[1]] = true
		out = append(out, segment{param: m[2] == "", rest: m[2] != ""})
	}
	return out, nil
}

var hostName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

func validateHost(host string) error {
	if host != "" && !hostName.MatchString(host) && net.ParseIP(host) == nil {
		return fmt.Errorf("%q is not a host name, *.example.com, or an address", host)
	}
	return nil
}

// match finds the route of each request; the steps after it can rely on there being one.
func match(t *table) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			raw := c.Request()
			if dotted(raw.URL.Path) {
				return middleware.Refuse(http.StatusBadRequest, "bad-path", "the path has dot segments or backslashes")
			}
			e, allow := t.find(raw.Method, raw.Host, raw.URL.Path)
			switch {
			case e != nil:
				middleware.Of(c).Matched = e.matched
				return next(c)
			case len(allow) > 0:
				list := strings.Join(allow, ", ")
				return middleware.Refuse(http.StatusMethodNotAllowed, "method-not-allowed", "this path takes "+list, "Allow", list)
			default:
				return middleware.Refuse(http.StatusNotFound, "no-route", "no route takes this host and path")
			}
		}
	}
}

// dotted paths mean one thing to a route and another to the service behind it.
func dotted(path string) bool {
	if !strings.Contains(path, "/.") && !strings.Contains(path, "\\") {
		return false
	}
	return strings.Contains(path, "\\") || slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
}

package gateway

import (
	"slices"
	"strings"
	"testing"
)

func routes() []Route {
	return []Route{
		{Name: "root", PathPrefix: "/"},
		{Name: "api", PathPrefix: "/api"},
		{Name: "items", Path: "/api/items", Methods: []string{"GET"}},
		{Name: "items-post", Path: "/api/items", Methods: []string{"POST"}},
		{Name: "item", Path: "/api/items/{id}", Methods: []string{"GET"}},
		{Name: "newest", Path: "/api/items/newest"},
		{Name: "reviews", Path: "/api/items/{id}/reviews", Methods: []string{"GET"}},
		{Name: "deep", Path: "/api/items/newest/deep/down"},
		{Name: "files", Path: "/files/{path...}"},
		{Name: "slash", Path: "/slash/"},
		{Name: "host", Host: "shop.example.com", PathPrefix: "/api"},
		{Name: "wild", Host: "*.example.com", Path: "/wild"},
		{Name: "wilder", Host: "*.eu.example.com", Path: "/wild"},
	}
}

func TestTheMostSpecificRouteWins(t *testing.T) {
	table, err := newTable(routes())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ method, host, path, want string }{
		"root":                     {"GET", "a", "/", "root"},
		"empty path":               {"GET", "a", "", "root"},
		"prefix itself":            {"GET", "a", "/api", "api"},
		"prefix with slash":        {"GET", "a", "/api/", "api"},
		"not half a segment":       {"GET", "a", "/apiary", "root"},
		"exact":                    {"GET", "a", "/api/items", "items"},
		"by method":                {"POST", "a", "/api/items", "items-post"},
		"HEAD like GET":            {"HEAD", "a", "/api/items", "items"},
		"less specific for method": {"DELETE", "a", "/api/items", "api"},
		"trailing slash":           {"GET", "a", "/api/items/", "api"},
		"parameter":                {"GET", "a", "/api/items/7", "item"},
		"literal first":            {"GET", "a", "/api/items/newest", "newest"},
		"back from the literal":    {"GET", "a", "/api/items/newest/reviews", "reviews"},
		"back to the prefix":       {"GET", "a", "/api/items/newest/deep", "api"},
		"rest":                     {"GET", "a", "/files/a/b/c", "files"},
		"rest may be empty":        {"GET", "a", "/files", "files"},
		"slash at the end":         {"GET", "a", "/slash/", "slash"},
		"without it":               {"GET", "a", "/slash", "root"},
		"many slashes":             {"GET", "a", "//api///items", "items"},
		"host":                     {"GET", "shop.example.com:8080", "/api/items", "host"},
		"host in capitals":         {"GET", "SHOP.Example.Com.", "/api/items", "host"},
		"host, other path":         {"GET", "shop.example.com", "/files/x", "files"},
		"wildcard":                 {"GET", "a.b.example.com", "/wild", "wild"},
		"longer wildcard":          {"GET", "a.eu.example.com", "/wild", "wilder"},
		"not the domain itself":    {"GET", ".example.com", "/wild", "root"},
		"IPv6":                     {"GET", "[::1]:8080", "/api/items", "items"},
	} {
		t.Run(name, func(t *testing.T) {
			e, allow := table.find(test.method, test.host, test.path)
			if e == nil || e.route.Name != test.want {
				t.Fatalf("%+v, allow %v", e, allow)
			}
		})
	}
}

func TestMethodNotAllowedNamesAll(t *testing.T) {
	table, err := newTable(routes()[2:5])
	if err != nil {
		t.Fatal(err)
	}
	if e, allow := table.find("DELETE", "a", "/api/items"); e != nil || !slices.Equal(allow, []string{"GET", "HEAD", "POST"}) {
		t.Fatalf("%v %v", e, allow)
	}
	if e, allow := table.find("DELETE", "a", "/nowhere"); e != nil || len(allow) != 0 {
		t.Fatalf("%v %v", e, allow)
	}
}

func FuzzFind(f *testing.F) {
	table, err := newTable(routes())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("GET", "a.eu.example.com:80", "/api/items/newest")
	f.Add("", "[", "//..//{id}/%2f")
	f.Fuzz(func(t *testing.T, method, host, path string) {
		if e, _ := table.find(method, host, path); e == nil {
			t.Fatalf("%q %q %q: the root takes everything", method, host, path)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("/api/items/{id}")
	f.Add("/{a...}")
	f.Fuzz(func(t *testing.T, pattern string) {
		segments, err := parsePattern(pattern)
		if err != nil {
			return
		}
		path := strings.NewReplacer("{", "", "}", "", "...", "").Replace(pattern)
		if strings.ContainsAny(path, ".\\") {
			return
		}
		table, err := newTable([]Route{{Name: "a", Path: pattern}})
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := table.find("GET", "", path); e == nil {
			t.Fatalf("%q (%v) does not take %q", pattern, segments, path)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	table, err := newTable(routes())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		table.find("GET", "gateway:8080", "/api/items/12345")
	}
}

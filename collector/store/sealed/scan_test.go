package sealed

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/internal/semconv"
)

func drawMatches(t *rapid.T, keys, values []string) (out []search.Match) {
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(t, "matches") {
		m := search.Match{Key: rapid.SampledFrom(keys).Draw(t, "key"), Op: search.Op(rapid.IntRange(0, 7).Draw(t, "op"))}
		switch {
		case m.Op >= search.Greater:
			m.Value = rapid.SampledFrom([]string{"0", "200", "-1.5", "1e300", "404.5", "-9223372036854775808"}).Draw(t, "number")
		case m.Op >= search.Matches:
			m.Value = rapid.SampledFrom([]string{"", ".*", ".+", "x|order-1", "/i.*", "2..", "[0-9]+"}).Draw(t, "regexp")
		default:
			m.Value = rapid.SampledFrom(values).Draw(t, "value")
		}
		out = append(out, m)
	}
	return out
}

func drawQuery(t *rapid.T, times []int64, services []string) *search.Compiled {
	some := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	var q search.Query
	if some("from") {
		q.From = rapid.SampledFrom(times).Draw(t, "time")
	}
	if some("to") {
		q.To = rapid.SampledFrom(times).Draw(t, "time")
	}
	if some("services") {
		q.Services = rapid.SliceOfN(rapid.SampledFrom(services), 1, 2).Draw(t, "services")
	}
	if some("names") {
		q.Names = []string{rapid.SampledFrom([]string{"", "x", "GET /cart", "query"}).Draw(t, "name")}
	}
	if some("kinds") {
		q.Kinds = []signal.Kind{signal.KindServer, signal.Kind(rapid.IntRange(0, 5).Draw(t, "kind"))}
	}
	if some("status") {
		q.Statuses = []signal.Status{signal.Status(rapid.IntRange(0, 2).Draw(t, "status"))}
	}
	if some("min") {
		q.MinDuration = rapid.SampledFrom([]int64{1, 100_000, 1 << 60}).Draw(t, "duration")
	}
	if some("max") {
		q.MaxDuration = rapid.SampledFrom([]int64{1, 100_000, 1 << 60}).Draw(t, "duration")
	}
	if some("severity") {
		q.MinSeverity = rapid.Int32Range(1, 24).Draw(t, "severity")
	}
	if some("body") {
		q.Body = []search.Line{{
			Text:   rapid.SampledFrom([]string{"", "x", "user 1", "took [0-9]+ ms"}).Draw(t, "line"),
			Regexp: rapid.Bool().Draw(t, "regexp"), Not: rapid.Bool().Draw(t, "not"),
		}}
	}
	keys := append([]string{"common", "number", "double", "flag", "absent", "cached", "url.path", "thread", "rare", "exception"}, someKeys...)
	values := append([]string{"1", "200", "404", "true", "NaN", "0", "-0", "/cart", "request-7", "worker-3", "it broke"}, someTexts...)
	q.Attributes = drawMatches(t, keys, values)
	q.Resource = drawMatches(t, []string{semconv.ServiceName, "a", "zone"}, []string{"cart", "zone-1", "service-3", ""})
	c, err := q.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestScanFindsWhatTheQueryWants(t *testing.T) {
	ctx := context.Background()
	many := manySpans(9000)
	manyFile, _ := sealSpans(t, t.TempDir(), many)
	defer manyFile.Close()
	manyWant, _ := modelSpans(t, many)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		f, want := manyFile, manyWant
		if rapid.Bool().Draw(t, "random") {
			batches := drawSpanBatches(t)
			f, _ = sealSpans(t, dir, batches)
			defer f.Close()
			want, _ = modelSpans(t, batches)
		}
		times := []int64{1e18, 1e18 + 3, 1, manyBase + 500_000, manyBase + 200_000_000}
		q := drawQuery(t, times, []string{"cart", "pay", "", "service-1", "none"})
		want = slices.DeleteFunc(slices.Clone(want), func(s signal.Span) bool { return !q.MatchSpan(&s) })
		var got []signal.Span
		read, err := f.ScanSpans(ctx, q, func(s *signal.Span) bool { got = append(got, *s); return true })
		if err != nil || read.Damaged != 0 || int(read.Rows) != len(got) {
			t.Fatalf("%+v %v", read, err)
		}
		compareAll(t, got, want)
		checkNewest(t, f, q, want)
	})
}

// checkNewest asks for the newest of what was found.
func checkNewest(t *rapid.T, f *File, q *search.Compiled, want []signal.Span) {
	limited := q.Query
	limited.Limit, limited.Newest = rapid.IntRange(1, 9).Draw(t, "limit"), true
	c, err := limited.Compile()
	if err != nil {
		t.Fatal(err)
	}
	var got, times []int64
	_, err = f.ScanSpans(context.Background(), c, func(s *signal.Span) bool { got = append(got, s.Start); return true })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range want {
		times = append(times, s.Start)
	}
	slices.SortFunc(times, func(a, b int64) int { return -compareInts(a, b) })
	if times = times[:min(len(times), limited.Limit)]; !slices.Equal(got, times) {
		t.Fatalf("newest %v, want %v", got, times)
	}
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestScanFindsLogsThatTheQueryWants(t *testing.T) {
	ctx := context.Background()
	many := manyLogs(9000)
	manyFile, _ := sealLogs(t, t.TempDir(), many)
	defer manyFile.Close()
	manyWant, _ := modelLogs(t, many)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		f, want := manyFile, manyWant
		if rapid.Bool().Draw(t, "random") {
			batches := drawLogBatches(t)
			f, _ = sealLogs(t, dir, batches)
			defer f.Close()
			want, _ = modelLogs(t, batches)
		}
		times := []int64{1e18, 1e18 + 3, 1, manyBase + 500_000, manyBase + 200_000_000}
		q := drawQuery(t, times, []string{"cart", "pay", "", "service-1", "none"})
		want = slices.DeleteFunc(slices.Clone(want), func(l signal.Log) bool { return !q.MatchLog(&l) })
		var got []signal.Log
		read, err := f.ScanLogs(ctx, q, func(l *signal.Log) bool { got = append(got, *l); return true })
		if err != nil || read.Damaged != 0 {
			t.Fatalf("%+v %v", read, err)
		}
		compareAll(t, got, want)
	})
}

var queryAll search.Query

func TestScanReadsLittle(t *testing.T) {
	f, _ := sealSpans(t, t.TempDir(), manySpans(30_000))
	defer f.Close()
	bytes := func(q search.Query) (int64, int64) {
		t.Helper()
		c, err := q.Compile()
		if err != nil {
			t.Fatal(err)
		}
		read, err := f.ScanSpans(context.Background(), c, func(*signal.Span) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		return read.Bytes, read.Rows
	}
	for name, q := range map[string]search.Query{
		"another time":    {From: manyBase * 2},
		"another service": {Services: []string{"nobody"}},
		"absent key":      {Attributes: []search.Match{{Key: "nowhere", Value: "x"}}},
		"absent route":    {Attributes: []search.Match{{Key: "http.route", Value: "/nowhere"}}},
		"absent status":   {Attributes: []search.Match{{Key: "http.response.status_code", Op: search.Greater, Value: "599"}}},
		"long":            {MinDuration: 1e12},
	} {
		n, found := bytes(q)
		if found != 0 || n > f.Bytes/20 {
			t.Errorf("%s: %d rows, %d of %d bytes read", name, found, n, f.Bytes)
		}
	}
	if n, found := bytes(search.Query{Statuses: []signal.Status{signal.StatusError}, Attributes: []search.Match{{Key: "url.path", Value: "/items/77"}}}); n > f.Bytes/2 {
		t.Errorf("%d rows, %d of %d bytes read", found, n, f.Bytes)
	}
}

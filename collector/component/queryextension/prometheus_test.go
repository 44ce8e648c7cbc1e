package queryextension

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

// What Grafana's Prometheus data source calls must answer as Prometheus does.
func TestPrometheusAPI(t *testing.T) {
	options := tsdb.DefaultOptions()
	options.EnableExemplarStorage, options.MaxExemplars = true, 100
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	now := time.Now()
	app := db.Appender(t.Context())
	series := labels.FromStrings("__name__", "requests_total", "job", "shop")
	ref, err := app.Append(0, series, now.UnixMilli(), 42)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.AppendExemplar(ref, series, exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: 1, Ts: now.UnixMilli(), HasTs: true}); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	handler := prometheusAPI("/prometheus/api/v1", db, slog.New(slog.DiscardHandler))
	around := "start=" + now.Add(-time.Minute).Format(time.RFC3339) + "&end=" + now.Add(time.Minute).Format(time.RFC3339)
	tests := map[string]struct {
		method, path, form string
		status             int
		want               string
	}{
		"health":          {"GET", "/query?query=1%2B1", "", 200, `"2"`},
		"instant":         {"GET", "/query?query=requests_total", "", 200, `"42"`},
		"instant by form": {"POST", "/query", "query=requests_total", 200, `"42"`},
		"range":           {"POST", "/query_range", "query=requests_total&step=15s&" + around, 200, `"matrix"`},
		"series":          {"POST", "/series", "match[]=requests_total&" + around, 200, `"job":"shop"`},
		"labels":          {"POST", "/labels", around, 200, `"job"`},
		"label values":    {"GET", "/label/job/values", "", 200, `"shop"`},
		"exemplars":       {"POST", "/query_exemplars", "query=requests_total&" + around, 200, `"trace_id":"abc"`},
		"metadata":        {"GET", "/metadata?limit=10", "", 200, `"success"`},
		"build":           {"GET", "/status/buildinfo", "", 200, `"version"`},
		"rules":           {"GET", "/rules", "", 200, `"groups":[]`},
		"alerts":          {"GET", "/alerts", "", 200, `"alerts":[]`},
		"targets":         {"GET", "/targets", "", 200, `"activeTargets":[]`},
		"alertmanagers":   {"GET", "/alertmanagers", "", 200, `"success"`},
		"format":          {"GET", "/format_query?query=a%2Bb", "", 200, `a + b`},
		"parse":           {"GET", "/parse_query?query=a", "", 200, `"vectorSelector"`},
		"tsdb":            {"GET", "/status/tsdb", "", 500, `not served by Weft`},
		"admin":           {"POST", "/admin/tsdb/delete_series?match[]=a", "", 500, `admin APIs disabled`},
		"remote write":    {"POST", "/write", "", 404, ``},
		"OTLP":            {"POST", "/otlp/v1/metrics", "", 404, ``},
		"bad query":       {"GET", "/query?query=%7B", "", 400, `"bad_data"`},
		"runtime":         {"GET", "/status/runtimeinfo", "", 200, `"serverTime"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(test.method, "/prometheus/api/v1"+test.path, strings.NewReader(test.form))
			if test.form != "" {
				request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if _, err := url.ParseQuery(test.form); err != nil {
					t.Fatal(err)
				}
			}
			request.Header.Set("Origin", "http://elsewhere.example")
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			body, _ := io.ReadAll(answer.Body)
			if answer.Code != test.status || !strings.Contains(string(body), test.want) {
				t.Fatalf("%d %s, want %d with %s", answer.Code, body, test.status, test.want)
			}
			if answer.Code == http.StatusOK && !json.Valid(body) {
				t.Errorf("not JSON: %s", body)
			}
			if allowed := answer.Header().Get("Access-Control-Allow-Origin"); allowed != "" {
				t.Errorf("another site may read this: %s", allowed)
			}
		})
	}
}

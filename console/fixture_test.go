package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// fixture answers like a collector whose shop has an ailing payment-2. Some of its texts are hostile.
type fixture struct {
	began time.Time
	quiet bool // nothing has happened yet
}

type object = map[string]any

const (
	requestID = "4bf92f3577b34da6a3ce929d0e0e4736"
	hostile   = `<img src=x onerror="document.title='pwned'">`
)

func (f *fixture) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, make func(r *http.Request) any) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			body := make(r)
			w.Header().Set("Content-Type", "application/json")
			if body == nil {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusNotFound)
				body = object{"title": "Not Found", "status": 404, "detail": "nothing of this name is known"}
			}
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	answer("/api/services", func(*http.Request) any { return object{"services": f.services()} })
	answer("/api/services/{name}", func(r *http.Request) any { return f.service(r.PathValue("name")) })
	answer("/api/verdicts", func(r *http.Request) any { return object{"verdicts": f.verdicts(r.URL.Query().Get("endpoint"))} })
	answer("/api/alerts", func(*http.Request) any { return f.alerts() })
	answer("/api/requests", func(r *http.Request) any {
		return object{"requests": f.requests(r.URL.Query().Get("service"), r.URL.Query().Get("status"))}
	})
	answer("/api/requests/{id}", func(r *http.Request) any {
		if r.PathValue("id") != requestID && r.PathValue("id") != "checkout-from-the-app" {
			return nil
		}
		return f.request()
	})
	mux.Handle("/", Handler())
	return mux
}

func (f *fixture) at(d time.Duration) string { return f.began.Add(d).UTC().Format(time.RFC3339Nano) }

type shop struct {
	name, state  string
	rate, errors float64
	p99          float64
	n            int
	calls, by    []string
}

var mesh = []shop{
	{"cart", "healthy", 12.1, 0, 9.1, 1, []string{"redis"}, []string{"storefront"}},
	{"catalog", "healthy", 48.6, 0.0004, 14.2, 1, []string{"mysql"}, []string{"storefront"}},
	{"gateway", "unknown", 61.2, 0.002, 131, 1, []string{"storefront"}, []string{}},
	{"mysql", "healthy", 92.4, 0, 3.3, 1, []string{}, []string{"catalog", "orders"}},
	{"nats", "healthy", 9.8, 0, 1.9, 1, []string{}, []string{"orders"}},
	{"orders", "healthy", 9.8, 0.011, 96, 3, []string{"payment", "mysql", "nats"}, []string{"storefront"}},
	{"payment", "ejected", 9.9, 0.101, 81, 3, []string{}, []string{"orders"}},
	{"redis", "healthy", 24.2, 0, 0.8, 1, []string{}, []string{"cart"}},
	{"storefront", "healthy", 61.2, 0.002, 127, 3, []string{"catalog", "cart", "orders"}, []string{"gateway"}},
}

func (f *fixture) services() []object {
	out := []object{}
	if f.quiet {
		return out
	}
	for _, s := range mesh {
		healthy := s.n
		if s.state == "ejected" {
			healthy--
		}
		out = append(out, object{"service": s.name, "rate": s.rate, "error_ratio": s.errors, "p99_ms": s.p99, "state": s.state,
			"endpoints": s.n, "endpoints_healthy": healthy, "calls": s.calls, "called_by": s.by})
	}
	return out
}

func (f *fixture) verdict(service, instance, state string, weight, version int, current bool) object {
	reason, attempts, failures := "Nothing speaks against it.", 400, 0
	if state != "healthy" {
		reason, failures = "30.1 % errors seen by 3 reporters and its own sidecar; it is usually 0.2 %, and the rest of payment is at 0.3 %.", 120
	}
	return object{"endpoint": service + "/" + instance, "service": service, "instance": instance, "address": "127.0.0.1:41232", "state": state,
		"weight": weight, "version": version, "enforced": true, "reason": reason, "since": f.at(-time.Duration(200-version) * time.Second), "current": current,
		"evidence": object{"attempts": attempts, "failures": failures, "error_ratio": float64(failures) / float64(attempts), "baseline_error_ratio": 0.002,
			"p99_ns": 81_000_000, "rest_p99_ns": 80_000_000, "window_ns": 10_000_000_000, "reporters": []string{"orders/orders-1", "orders/orders-2", "orders/orders-3"},
			"witnesses": []string{"payment/payment-2"}, "request_ids": []string{requestID}, "test": "sequential"}}
}

func (f *fixture) verdicts(endpoint string) []object {
	out := []object{}
	if f.quiet {
		return out
	}
	if endpoint == "" || endpoint == "payment/payment-2" {
		out = append(out, f.verdict("payment", "payment-2", "ejected", 0, 171, true))
	}
	if endpoint != "" {
		return append(out, f.verdict("payment", "payment-2", "degraded", 40, 169, false), f.verdict("payment", "payment-2", "healthy", 100, 12, false))
	}
	for _, s := range mesh {
		for i := range s.n {
			if instance := fmt.Sprintf("%s-%d", s.name, i+1); instance != "payment-2" && s.state != "unknown" {
				v := f.verdict(s.name, instance, "healthy", 100, i+1, true)
				if instance == "orders-3" {
					v["state"], v["weight"] = "probing", 25
				}
				out = append(out, v)
			}
		}
	}
	return out
}

func (f *fixture) service(name string) any {
	for _, s := range mesh {
		if s.name != name {
			continue
		}
		endpoints := []object{}
		for _, v := range f.verdicts("") {
			if v["service"] == name {
				endpoints = append(endpoints, object{"endpoint": v["endpoint"], "instance": v["instance"], "address": v["address"], "state": v["state"], "weight": v["weight"], "verdict": v})
			}
		}
		history, alerts := []object{}, []object{}
		if name == "payment" {
			history = append(f.verdicts("")[:1], f.verdicts("payment/payment-2")[1:]...)
			alerts = f.alerts()["alerts"].([]object)
		}
		return object{"service": name, "rate": s.rate, "error_ratio": s.errors, "p99_ms": s.p99, "state": s.state, "calls": s.calls, "called_by": s.by,
			"endpoints": endpoints, "verdicts": history, "alerts": alerts}
	}
	return nil
}

func (f *fixture) alerts() object {
	if f.quiet {
		return object{"alerts": []object{}}
	}
	alert := func(instance, status string, from, to time.Duration) object {
		var ends any
		if status == "resolved" {
			ends = f.at(to)
		}
		return object{"fingerprint": instance + status, "name": "EndpointUnhealthy", "status": status, "severity": "critical", "endpoint": "payment/" + instance,
			"summary": instance + " of payment is failing and was ejected", "starts_at": f.at(from), "ends_at": ends, "request_ids": []string{requestID}, "labels": object{},
			"annotations": object{
				"description": "30.1 % errors seen by 3 reporters and its own sidecar; it is usually 0.2 %.",
				"evidence":    "120 of 400 attempts failed (30.0 %, usually 0.2 %) within 10s; p99 81ms, the rest of its service 80ms; reported by orders/orders-1, orders/orders-2, orders/orders-3; witnessed by payment/payment-2; test: sequential",
				"routing":     "Every proxy has been told to leave it; the other endpoints of payment carry its traffic. It returns by one probe and a slow start.",
			}}
	}
	refuses := object{"fingerprint": "refuses", "name": "StoreRefuses", "status": "resolved", "severity": "critical", "endpoint": "", "subject": "collector store",
		"summary": "The collector's store refuses what it is sent", "starts_at": f.at(-5 * time.Hour), "ends_at": f.at(-4 * time.Hour), "request_ids": []string{}, "labels": object{},
		"annotations": object{"description": "No space left: " + hostile, "resolution": "It takes what it is sent again."}}
	return object{
		"alerts": []object{alert("payment-2", "firing", -29*time.Second, 0), alert("payment-3", "resolved", -3*time.Hour, -170*time.Minute), refuses},
		"outbox": object{"queued": 1, "sent": 12, "refused": 1, "not_durable": 0, "webhook": "http://127.0.0.1:9099",
			"retrying":     []object{{"id": "a", "group_key": `{}:{service="payment"}`, "attempts": 3, "next_try": f.at(8 * time.Second), "last_error": "receiver answered 429"}},
			"dead_letters": []object{{"id": "b", "group_key": `{}:{service="mysql"}`, "at": f.at(-40 * time.Minute), "reason": "receiver answered 404: " + hostile, "alerts": 1, "attempts": 1}}},
	}
}

func (f *fixture) requests(service, status string) []object {
	out := []object{}
	for i := range 40 {
		r := object{"request_id": fmt.Sprintf("%032x", 0x7a11+i*7919), "trace_id": fmt.Sprintf("%032x", 0x7a11+i*7919), "trace_ids": []string{}, "client_request_id": "",
			"start": f.at(-time.Duration(i*640) * time.Millisecond), "duration_ms": 14.0 + float64((i*37)%90), "status": 200, "method": "GET", "route": "/api/items/{id}",
			"service": "gateway", "services": []string{"gateway", "storefront", "catalog", "mysql"}, "error": false, "attempts": 1, "dropped_traceparent_by": []string{}, "span_id": fmt.Sprint(i), "href": ""}
		switch {
		case i%8 == 2:
			r["request_id"], r["trace_id"], r["route"], r["method"], r["duration_ms"], r["attempts"] = requestID, requestID, "/api/checkout", "POST", 141.7, 2
			r["services"], r["dropped_traceparent_by"] = []string{"gateway", "storefront", "cart", "orders", "payment", "mysql", "nats"}, []string{"orders"}
		case i%11 == 5:
			r["status"], r["error"], r["route"], r["method"] = 502, true, "/api/checkout", "POST"
		case i%9 == 4:
			r["route"], r["services"] = hostile, []string{"gateway", "storefront", "catalog", "cart"}
		}
		if (status == "" || fmt.Sprint(r["status"]) == status || status == "error" && r["error"] == true) &&
			(service == "" || strings.Contains(fmt.Sprint(r["services"]), service)) {
			out = append(out, r)
		}
	}
	return out
}

// request is a checkout: gateway, sidecars and services, a failed attempt at payment-2, its retry, and logs.
func (f *fixture) request() object {
	base := f.began.Add(-20 * time.Second).UnixNano()
	spans := []object{}
	add := func(id, parent, service, instance, name, kind, proxy string, from, length float64, more object) {
		s := object{"trace_id": requestID, "span_id": id, "parent_span_id": parent, "service": service, "instance": instance, "endpoint": instance, "name": name, "kind": kind,
			"start_unix_nano": base + int64(from*1e6), "duration_ns": int64(length * 1e6), "status": "unset", "attempt": 0, "attributes": object{"http.request.method": "POST", "url.path": "/api/checkout", "user_agent.original": hostile}}
		if proxy != "" {
			s["proxy"] = proxy
		}
		for k, v := range more {
			s[k] = v
		}
		spans = append(spans, s)
	}
	to := func(service, endpoint, pick, version, outcome string) object {
		return object{"routing": object{"service": service, "endpoint": endpoint, "address": "127.0.0.1:41233", "pick": pick, "weight": 100, "verdict_version": version, "outcome": outcome}}
	}
	add("a1", "", "gateway", "gateway-1", "POST /api/checkout", "server", "gateway", 0, 141.7, nil)
	add("a2", "a1", "gateway", "gateway-1", "POST", "client", "gateway", 0.6, 140.6, to("storefront", "storefront-2", "p2c", "3", "ok"))
	add("b1", "a2", "storefront", "storefront-2", "POST /api/checkout", "server", "sidecar", 1.4, 139, nil)
	add("b2", "b1", "storefront", "storefront-2", "POST /api/checkout", "server", "", 2, 138, nil)
	add("c1", "b2", "storefront", "storefront-2", "GET /cart", "client", "sidecar", 3, 11, to("cart", "cart-1", "only", "", "ok"))
	add("c2", "c1", "cart", "cart-1", "GET /cart", "server", "", 5, 8, nil)
	add("d1", "b2", "storefront", "storefront-2", "POST /orders", "client", "sidecar", 16, 122, to("orders", "orders-1", "p2c", "8", "ok"))
	add("d2", "d1", "orders", "orders-1", "POST /orders", "server", "", 17, 120, nil)
	add("e1", "d2x", "orders", "orders-1", "POST /charge", "client", "sidecar", 24, 31, object{"adopted_parent_span_id": "d2", "status": "error",
		"routing": to("payment", "payment-2", "p2c", "168", "error")["routing"]})
	add("e2", "e1", "payment", "payment-2", "POST /charge", "server", "", 26, 28, object{"status": "error", "status_message": "card processor " + hostile,
		"events": []object{{"time_unix_nano": base + 50e6, "name": "exception", "attributes": object{"exception.type": "ProcessorError", "exception.message": "connection reset"}}}})
	retry := to("payment", "payment-3", "retry", "168", "ok")
	retry["attempt"], retry["adopted_parent_span_id"] = 1, "d2"
	add("f1", "d2x", "orders", "orders-1", "POST /charge", "client", "sidecar", 57, 44, retry)
	add("f2", "f1", "payment", "payment-3", "POST /charge", "server", "", 59, 41, nil)
	add("g1", "d2", "orders", "orders-1", "INSERT orders", "client", "", 104, 6, nil)
	add("h1", "d2", "orders", "orders-1", "orders.placed publish", "producer", "", 112, 2.2, nil)
	log := func(at float64, service, severity, body, span string) object {
		return object{"time_unix_nano": base + int64(at*1e6), "service": service, "instance": service + "-1", "severity": severity, "body": body, "span_id": span, "trace_id": requestID, "attributes": object{"cart.items": 3}}
	}
	alerts := f.alerts()["alerts"].([]object)[:1]
	return object{"request_id": requestID, "trace_id": requestID, "trace_ids": []string{requestID}, "client_request_id": "checkout-from-the-app", "start": f.at(-20 * time.Second), "duration_ms": 141.7,
		"status": 200, "method": "POST", "route": "/api/checkout", "service": "gateway", "error": false, "attempts": 2, "dropped_traceparent_by": []string{"orders"}, "spans": spans,
		"logs": []object{log(2.4, "storefront", "INFO", "checkout begins", "b2"), log(6, "cart", "DEBUG", "cart read from redis", "c2"), log(18, "orders", "INFO", "order received", "d2"),
			log(52, "payment", "ERROR", "charge failed: "+hostile, "e2"), log(56, "orders", "WARN", "payment answered 500, the sidecar tries another", "d2"), log(99, "payment", "INFO", "charged 42.00 EUR", "f2"), log(130, "orders", "INFO", "note without a span", "zz")},
		"services": []object{{"service": "gateway", "rate": 61.2, "error_ratio": 0.002, "p99_ms": 131}, {"service": "orders", "rate": 9.8, "error_ratio": 0.011, "p99_ms": 96}, {"service": "payment", "rate": 9.9, "error_ratio": 0.101, "p99_ms": 81}},
		"verdicts": []object{f.verdict("payment", "payment-2", "ejected", 0, 171, true)}, "alerts": alerts, "requests": []object{}, "incomplete": []string{}}
}

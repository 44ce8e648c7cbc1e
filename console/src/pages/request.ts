import { get, poll, Problem } from "../api";
import { h, replace, type Child } from "../dom";
import { millis, nanos, percent, rate } from "../format";
import type { Page } from "../page";
import { alertCard, dye, empty, endpointLink, figure, moment, path, section, serviceLink, status, table, verdictTable } from "../parts";
import type { Request, Span } from "../types";
import { waterfall, type View } from "../waterfall";

// A request is whole within a second or so; until then, and for a while after, the page asks again.
const settleMs = 15_000;

export const request: Page = ([id = ""], query, shell) => {
  const body = h("div", null, empty("Asking the collector…"));
  const view: View = { open: new Set(), logs: true };
  const span = query.get("span");
  const url = `/api/requests/${encodeURIComponent(id)}${span ? "?span=" + encodeURIComponent(span) : ""}`;
  const opened = Date.now();
  const stop = poll((signal) => get<Request>(url, signal), 1000, (r) => {
    replace(body, draw(r, view));
    shell.fine();
    if (Date.now() - Date.parse(r.start) > settleMs) stop();
  }, (e) => {
    if (e instanceof Problem && e.status === 404) {
      replace(body, unknown(id, Date.now() - opened > settleMs));
      if (Date.now() - opened > settleMs) stop();
    } else shell.failed(e);
  });
  return { title: id, body, stop };
};

function unknown(id: string, final: boolean): HTMLElement {
  return h("div", { class: "empty" }, h("h1", null, "No request by this ID"), h("p", null, h("code", null, id)),
    h("p", null, "It is matched against request IDs, trace IDs and the IDs that clients sent. ", final ? "It may be older than the retention, or never have come through Weft." : "It may still be on its way: asking again…"));
}

function draw(r: Request, view: View): Child {
  return [
    heading(r),
    ...r.incomplete.map((what) => h("p", { class: "notice bad", role: "alert" }, "Part of the answer is missing – ", what)),
    r.dropped_traceparent_by.length > 0 ? h("p", { class: "notice mended" },
      r.dropped_traceparent_by.map((name, i) => [i > 0 ? ", " : "", serviceLink(name)]), " dropped ", h("code", null, "traceparent"),
      ". The thread was picked up again by the request ID and the sidecars' spans.") : null,
    r.requests.length > 1 ? siblings(r) : null,
    ...r.alerts.map((a) => h("p", { class: "notice bad" }, a.status === "resolved" ? "An alert named " : "An alert names ", endpointLink(a.endpoint), ", which it touched. ", h("a", { href: "#s-alerts-on-its-endpoints" }, "See below"))),
    section("Waterfall", r.spans.length, waterfall(r.spans, r.logs, view)),
    attempts(r.spans),
    r.verdicts.length > 0 ? section("Verdicts in force", r.verdicts.length, verdictTable("Verdicts in force at the time, on endpoints it touched", r.verdicts)) : null,
    r.alerts.length > 0 ? section("Alerts on its endpoints", r.alerts.length, r.alerts.map(alertCard)) : null,
    r.services.length > 0 ? section("Services now", r.services.length, rates(r)) : null,
  ];
}

function heading(r: Request): HTMLElement {
  const copy = h("button", { type: "button", class: "copy", click: () => {
    void navigator.clipboard?.writeText(r.request_id).then(() => (copy.textContent = "copied"));
  } }, "copy");
  return h("div", { class: "masthead request" },
    h("h1", null, status(r.status), h("span", { class: "method" }, r.method), " ", r.route || "(no route)"),
    h("p", { class: "ids" }, h("code", { class: "id" }, r.request_id), copy,
      r.trace_id !== r.request_id ? h("span", { class: "fine" }, "trace ", h("code", null, r.trace_id)) : null,
      r.client_request_id ? h("span", { class: "fine" }, "the client called it ", h("code", null, r.client_request_id)) : null),
    h("dl", { class: "figures" }, figure("took", millis(r.duration_ms)), figure("attempts", String(r.attempts)),
      figure("spans", String(r.spans.length)), figure("logs", String(r.logs.length)), h("div", { class: "figure" }, h("dt", null, "began"), h("dd", null, moment(r.start)))));
}

function siblings(r: Request): HTMLElement {
  return section("Requests of this trace", r.requests.length, h("ul", { class: "names" }, r.requests.map((q) =>
    h("li", null, status(q.status), " ", h("a", { href: path("requests", r.trace_id) + "?span=" + encodeURIComponent(q.span_id) }, `${q.method} ${q.route}`), " ", millis(q.duration_ms)))));
}

const picks: Record<string, string> = {
  p2c: "the less loaded of two at random",
  only: "the only endpoint there is",
  retry: "another one, after a failed try",
  panic: "too many were unhealthy, so all were used",
};

function attempts(spans: Span[]): Child {
  const tries = spans.filter((x) => x.routing);
  if (tries.length === 0) return null;
  return section("Attempts", tries.length, table("Each attempt, with why its endpoint was picked",
    ["From", "To", ">Try", "Picked because", ">Weight", ">Verdict", "Outcome", ">Took"], tries.map((x) => {
      const to = x.routing!;
      const failed = !["ok", "aborted", ""].includes(to.outcome);
      return h("tr", { class: failed ? "failed" : "" },
        h("td", null, endpointLink(`${x.service}/${x.instance}`)), h("td", null, h("i", { class: `dot ${dye(to.service)}` }), endpointLink(`${to.service}/${to.endpoint}`)),
        h("td", { class: "n" }, x.attempt + 1), h("td", { class: "wide" }, picks[to.pick] ?? to.pick ?? "–"),
        h("td", { class: "n" }, to.weight), h("td", { class: "n" }, to.verdict_version ? `v${to.verdict_version}` : "–"),
        h("td", { class: failed ? "bad" : "" }, to.outcome.replaceAll("_", " ") || "–"), h("td", { class: "n" }, nanos(x.duration_ns)));
    })));
}

function rates(r: Request): HTMLElement {
  return table("Rate, errors and latency of each service", ["Service", ">req/s", ">Errors", ">p99"], r.services.map((x) =>
    h("tr", null, h("th", { scope: "row" }, serviceLink(x.service)), h("td", { class: "n" }, rate(x.rate)),
      h("td", { class: x.error_ratio >= 0.01 ? "n bad" : "n" }, percent(x.error_ratio)), h("td", { class: "n" }, millis(x.p99_ms)))));
}


// The waterfall: one thread a span, in the dye of its service, with its logs under it.

import { h, type Child } from "./dom";
import { nanos } from "./format";
import { dye } from "./parts";
import { ticks, weave, type SpanRow, type Waterfall } from "./tree";
import type { Attributes, Log, Span } from "./types";

// maxRows keeps a page of a runaway trace usable; the rest is said in words.
const maxRows = 1500;

// View is what a person has set; it outlives a redraw.
export interface View {
  open: Set<string>; // spans whose details are unfolded
  logs: boolean;
}

export function waterfall(spans: Span[], logs: Log[], view: View): Child {
  const w = weave(spans, logs);
  const shown = w.rows.slice(0, maxRows);
  const box = h("div", { class: view.logs ? "waterfall" : "waterfall no-logs" });
  const toggle = h("label", { class: "toggle" }, h("input", { type: "checkbox", checked: view.logs, "data-key": "logs", change: (e) => {
    view.logs = (e.target as HTMLInputElement).checked;
    box.classList.toggle("no-logs", !view.logs);
  } }), "Logs between the spans");
  box.append(warp(w), ruler(w), h("ol", { class: "spans", "aria-label": "Spans in order of their calls" }, shown.map((row) => spanRow(row, w, view.open))));
  if (w.loose.length > 0) box.append(h("div", { class: "loose" }, h("h3", null, "Logs of this request outside any span"), h("ol", null, w.loose.map((log) => logRow(log, w, 0)))));
  return [logs.length > 0 ? toggle : null, legend(spans), box, shown.length < w.rows.length ? h("p", { class: "fine" }, `${w.rows.length - shown.length} more spans are not drawn.`) : null];
}

function legend(spans: Span[]): HTMLElement {
  const names = [...new Set(spans.map((x) => x.service))];
  return h("p", { class: "legend" }, names.map((name) => h("span", null, h("i", { class: `dot ${dye(name)}` }), name)));
}

const share = (w: Waterfall, at: number): string => `${Math.min(100, Math.max(0, (100 * (at - w.start)) / w.length))}%`;

function ruler(w: Waterfall): HTMLElement {
  return h("div", { class: "ruler", "aria-hidden": "true" }, h("div", { class: "name" }), h("div", { class: "track" },
    ticks(w.length, 5).map((t) => h("span", { class: "tick", style: { left: share(w, w.start + t) } }, t === 0 ? "0" : nanos(t)))));
}

// warp is the loom behind the weft: the ruler's lines, down through every row.
function warp(w: Waterfall): HTMLElement {
  return h("div", { class: "warp-lines", "aria-hidden": "true" }, h("div", { class: "name" }), h("div", { class: "track" },
    ticks(w.length, 10).map((t) => h("i", { style: { left: share(w, w.start + t) } }))));
}

function failed(span: Span): boolean {
  return span.status === "error" || (span.routing !== undefined && !["", "ok", "aborted"].includes(span.routing.outcome));
}

function spanRow(row: SpanRow, w: Waterfall, open: Set<string>): HTMLElement {
  const { span } = row;
  const detail = h("div", { class: "detail", hidden: !open.has(span.span_id) });
  if (open.has(span.span_id)) detail.append(details(span));
  const button = h("button", { type: "button", class: "name", "data-key": span.span_id, "aria-expanded": String(open.has(span.span_id)), style: { "--depth": String(row.depth) }, click: () => {
    const now = !open.has(span.span_id);
    if (now) open.add(span.span_id);
    else open.delete(span.span_id);
    detail.hidden = !now;
    button.setAttribute("aria-expanded", String(now));
    if (now && detail.childElementCount === 0) detail.append(details(span));
  } }, h("span", { class: "who" }, h("i", { class: `dot ${dye(span.service)}` }), span.service), span.proxy ? h("span", { class: "proxy" }, span.proxy) : null, h("span", { class: "what" }, span.name), chips(span));
  const kind = span.proxy ? "proxied" : "own";
  const bar = h("span", { class: `thread ${dye(span.service)} ${kind} ${failed(span) ? "failed" : ""}`, style: { left: share(w, span.start_unix_nano), width: `${Math.max(0.15, (100 * span.duration_ns) / w.length)}%` } });
  const late = (span.start_unix_nano - w.start) / w.length > 0.75;
  const label = h("span", { class: late ? "length before" : "length", style: late ? { right: `calc(100% - ${share(w, span.start_unix_nano)})` } : { left: share(w, span.start_unix_nano + span.duration_ns) } }, nanos(span.duration_ns));
  return h("li", { class: failed(span) ? "failed" : "", "data-row": true },
    h("div", { class: "line" }, button, h("div", { class: "track" }, bar, row.logs.map((log) => h("i", { class: `knot ${level(log)}`, style: { left: share(w, log.time_unix_nano) } })), label)),
    detail,
    row.logs.length > 0 ? h("ol", { class: "logs" }, row.logs.map((log) => logRow(log, w, row.depth))) : null);
}

function chips(span: Span): Child {
  const to = span.routing;
  return [
    to ? h("span", { class: "chip" }, "→ ", to.endpoint) : null,
    span.attempt > 0 ? h("span", { class: "chip warn" }, `retry ${span.attempt}`) : null,
    failed(span) ? h("span", { class: "chip bad" }, to?.outcome && to.outcome !== "ok" ? to.outcome.replaceAll("_", " ") : "error") : null,
    span.adopted_parent_span_id ? h("span", { class: "chip mended" }, "mended") : null,
  ];
}

function level(log: Log): string {
  const severity = log.severity.toUpperCase();
  if (severity.startsWith("ERR") || severity.startsWith("FATAL") || severity.startsWith("CRIT")) return "bad";
  return severity.startsWith("WARN") ? "warn" : "info";
}

function logRow(log: Log, w: Waterfall, depth: number): HTMLElement {
  const line = h("li", { class: `log ${level(log)}`, style: { "--depth": String(depth) } },
    h("span", { class: "at" }, "+" + (nanos(log.time_unix_nano - w.start) === "–" ? "0" : nanos(log.time_unix_nano - w.start))),
    h("span", { class: "severity" }, log.severity || "LOG"), h("span", { class: "body" }, log.body));
  if (Object.keys(log.attributes ?? {}).length > 0) line.append(h("span", { class: "extra" }, Object.entries(log.attributes).slice(0, 6).map(([k, v]) => `${k}=${text(v)}`).join("  ")));
  return line;
}

function details(span: Span): HTMLElement {
  const facts: Attributes = {
    span: span.span_id, parent: span.parent_span_id || span.adopted_parent_span_id || "none", kind: span.kind, instance: span.instance,
    ...(span.status_message ? { "status message": span.status_message } : {}),
  };
  return h("div", null, attributes(facts), attributes(span.attributes),
    (span.events ?? []).map((e) => h("div", { class: "event" }, h("h4", null, e.name), attributes(e.attributes))));
}

function attributes(list: Attributes): Child {
  const rows = Object.entries(list ?? {});
  if (rows.length === 0) return null;
  return h("dl", { class: "attributes" }, rows.sort(([a], [b]) => a.localeCompare(b)).map(([k, v]) => h("div", null, h("dt", null, k), h("dd", null, text(v)))));
}

function text(v: unknown): string {
  return typeof v === "string" ? v : JSON.stringify(v);
}

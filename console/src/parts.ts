// Pieces that several pages show.

import { h, s, type Child } from "./dom";
import { ago, clock, millis, nanos, percent, rate } from "./format";
import type { Alert, Evidence, State, Verdict } from "./types";

const dyes = 12;
const dyed = new Map<string, number>();

// dye is the thread colour of a service: the same on every page, handed out in order of first sight.
export function dye(service: string): string {
  let n = dyed.get(service);
  if (n === undefined) dyed.set(service, (n = dyed.size % dyes));
  return `dye-${n}`;
}

export function knownServices(names: string[]): void {
  for (const name of [...names].sort()) dye(name);
}

export const path = (...parts: string[]): string => "/" + parts.map(encodeURIComponent).join("/");

export function serviceLink(service: string): HTMLElement {
  return h("a", { class: `service ${dye(service)}`, href: path("services", service) }, service);
}

export function endpointLink(key: string, text = key.split("/").at(-1) ?? key): HTMLElement {
  const [service = "", instance = ""] = key.split("/");
  return h("a", { class: "endpoint", href: path("endpoints", service, instance) }, text);
}

export function requestLink(id: string): HTMLElement {
  return h("a", { class: "id", href: path("requests", id) }, id);
}

// Each state has a shape of its own, so that colour is never the only sign.
const shapes: Record<State, string> = {
  healthy: "M2 8h12",
  degraded: "M2 8c2-4 4-4 6 0s4 4 6 0",
  probing: "M2 8h2M7 8h2M12 8h2",
  ejected: "M2 8h4M10 8h4M6 5.500l1 5M10 5.500l-1 5",
  unknown: "M7 8h2",
};

export function state(of: State, words = true): HTMLElement {
  return h("span", { class: `state ${of}`, title: of },
    s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: shapes[of] ?? shapes.unknown })),
    h("span", { class: words ? "" : "unseen" }, of));
}

export interface Strand { key: string; instance: string; state: State; weight: number }

// strands draws the endpoints of a service as threads on the loom: as thick as their weight, cut when ejected.
export function strands(list: Strand[]): HTMLElement {
  return h("span", { class: "strands" }, list.map((e) => {
    const label = `${e.instance}: ${e.state}, weight ${e.weight}`;
    return h("a", { class: `strand ${e.state}`, href: path("endpoints", ...e.key.split("/")), title: label, "aria-label": label, style: { "--weight": String(e.weight / 100) } });
  }));
}

export function time(iso: string): HTMLElement {
  return h("time", { datetime: iso, "data-ago": true, title: new Date(iso).toLocaleString() }, ago(iso));
}

// growOld keeps the relative times on the page true between two answers.
export function growOld(): void {
  for (const el of document.querySelectorAll<HTMLTimeElement>("time[data-ago]")) {
    const text = ago(el.dateTime);
    if (el.textContent !== text) el.textContent = text;
  }
}

export function moment(iso: string): HTMLElement {
  return h("time", { datetime: iso, title: new Date(iso).toLocaleString() }, clock(iso));
}

export function status(code: number): HTMLElement {
  const kind = code >= 500 || code === 0 ? "bad" : code >= 400 ? "warn" : "good";
  return h("span", { class: `status ${kind}` }, code === 0 ? "–" : code);
}

export function figure(label: string, value: string, bad = false): HTMLElement {
  return h("div", { class: bad ? "figure bad" : "figure" }, h("dt", null, label), h("dd", null, value));
}

export function red(of: { rate: number; error_ratio: number; p99_ms: number }): HTMLElement {
  return h("dl", { class: "figures" },
    figure("requests/s", rate(of.rate)), figure("errors", percent(of.error_ratio), of.error_ratio >= 0.01), figure("p99", millis(of.p99_ms)));
}

export function section(title: string, count: number | null, ...children: Child[]): HTMLElement {
  const id = "s-" + title.toLowerCase().replace(/\W+/g, "-");
  return h("section", { "aria-labelledby": id },
    h("h2", { id }, title, count === null ? null : h("span", { class: "count" }, count)), ...children);
}

export const empty = (...children: Child[]): HTMLElement => h("p", { class: "empty" }, ...children);

export function table(caption: string, heads: string[], rows: HTMLElement[]): HTMLElement {
  return h("div", { class: "scroll" }, h("table", null, h("caption", { class: "unseen" }, caption),
    h("thead", null, h("tr", null, heads.map((text) => h("th", { scope: "col", class: text.startsWith(">") ? "n" : "" }, text.replace(/^>/, ""))))),
    h("tbody", null, rows)));
}

export function verdictTable(caption: string, verdicts: Verdict[]): HTMLElement {
  return table(caption, ["State", "Endpoint", ">Weight", "Why", ">Evidence", ">Version", ">Since"], verdicts.map((v) =>
    h("tr", { class: v.current ? "" : "past" },
      h("td", null, state(v.state)), h("td", null, endpointLink(v.endpoint)),
      h("td", { class: "n" }, v.enforced ? `${v.weight}` : h("span", { title: "observed only, not enforced" }, `(${v.weight})`)),
      h("td", { class: "wide" }, v.reason, v.enforced ? null : h("em", null, " – observed, not enforced")),
      h("td", { class: "n" }, v.evidence.attempts > 0 ? `${v.evidence.failures}/${v.evidence.attempts}` : "–"),
      h("td", { class: "n" }, v.version), h("td", { class: "n" }, time(v.since)))));
}

export function evidence(e: Evidence): HTMLElement {
  const names = (list: string[] | null) => list && list.length > 0
    ? h("ul", { class: "names" }, list.map((n) => h("li", null, n.includes("/") ? h("span", null, h("i", { class: `dot ${dye(n.split("/")[0] ?? "")}` }), n) : n))) : "nobody";
  const pair = (label: string, ...value: Child[]) => h("div", null, h("dt", null, label), h("dd", null, ...value));
  return h("div", null, h("dl", { class: "facts" },
    pair("Attempts failed", h("b", null, e.failures), ` of ${e.attempts}`, e.window_ns > 0 ? ` within ${nanos(e.window_ns)}` : ""),
    pair("Error ratio", h("b", null, percent(e.error_ratio)), `, usually ${percent(e.baseline_error_ratio)}`),
    pair("p99", h("b", null, nanos(e.p99_ns)), `, the rest of its service ${nanos(e.rest_p99_ns)}`),
    pair("Decided by", e.test || "–")),
  h("dl", { class: "facts" },
    pair("Reported by", names(e.reporters)),
    pair("Witnessed by", names(e.witnesses)),
    pair("Requests to open", e.request_ids && e.request_ids.length > 0 ? h("ul", { class: "names" }, e.request_ids.map((id) => h("li", null, requestLink(id)))) : "none kept")));
}

export function alertCard(a: Alert): HTMLElement {
  const note = a.annotations ?? {};
  const over = a.status === "resolved";
  const title = a.summary || note.summary || a.name;
  const todo = path("runbooks", a.name); // also the page of an alert that names no endpoint
  return h("article", { class: `alert ${a.status}`, "data-row": true, "data-href": a.endpoint ? path("endpoints", ...a.endpoint.split("/")) : todo },
    h("header", null, h("b", { class: "tag" }, a.status), h("h3", null, a.endpoint ? endpointLink(a.endpoint, title) : h("a", { href: todo }, title)),
      h("span", { class: "when" }, over && a.ends_at ? ["ended ", time(a.ends_at), " after ", millis(Date.parse(a.ends_at) - Date.parse(a.starts_at))] : ["since ", time(a.starts_at)])),
    note.description ? h("p", null, note.description) : null,
    note.evidence ? h("p", { class: "fine" }, note.evidence) : null,
    note.routing ? h("p", { class: "routing" }, note.routing) : null,
    note.resolution ? h("p", { class: "routing" }, note.resolution) : null,
    a.subject ? h("p", { class: "fine" }, a.subject) : null,
    h("footer", null,
      a.request_ids && a.request_ids.length > 0 ? h("span", null, "Examples: ", a.request_ids.map((id, i) => [i > 0 ? ", " : "", requestLink(id)])) : null,
      over ? null : h("a", { href: todo }, "What to do")));
}

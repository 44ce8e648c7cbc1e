import { get, poll } from "../api";
import { h, replace } from "../dom";
import { millis, plural, shortID } from "../format";
import type { Page } from "../page";
import { dye, empty, moment, path, section, status, table } from "../parts";
import type { RequestSummary } from "../types";

const filters = ["service", "route", "status", "min_duration"] as const;
const hints: Record<string, string> = { service: "any service", route: "any route", status: "200, 5xx, error", min_duration: "250ms" };

// requests is a live list: newest first, and what it shows is in its address.
export const requests: Page = (_params, query, shell) => {
  const list = h("div", null, empty("Asking the collector…"));
  let live = query.get("live") !== "off";
  let stop = (): void => {};
  const asked = (): URLSearchParams => {
    const out = new URLSearchParams({ limit: query.get("limit") ?? "100" });
    for (const f of filters) {
      const value = query.get(f);
      if (value) out.set(f, value);
    }
    return out;
  };
  const seen = new Set<string>();
  const listen = (): void => {
    stop();
    stop = poll((signal) => get<{ requests: RequestSummary[] }>("/api/requests?" + asked().toString(), signal), live ? 1500 : 3_600_000, (answer) => {
      replace(list, draw(answer.requests, seen));
      for (const r of answer.requests) seen.add(keyOf(r));
      shell.fine();
    }, shell.failed);
  };
  const change = (name: string, value: string): void => {
    if (value) query.set(name, value);
    else query.delete(name);
    shell.setQuery(query);
    seen.clear();
    listen();
  };
  const pause = h("button", { type: "button", class: "live", "aria-pressed": String(live), click: () => {
    live = !live;
    pause.setAttribute("aria-pressed", String(live));
    change("live", live ? "" : "off");
  } }, "Live");
  listen();
  return { title: "Requests", body: [form(query, change, pause), list], stop: () => stop() };
};

function form(query: URLSearchParams, change: (name: string, value: string) => void, pause: HTMLElement): HTMLElement {
  return h("form", { class: "filters", "aria-label": "Filter requests", submit: (e) => e.preventDefault() },
    filters.map((name) => {
      const input = h("input", { id: `f-${name}`, name, value: query.get(name) ?? "", placeholder: hints[name], autocomplete: "off", spellcheck: "false",
        list: name === "service" ? "known-services" : null, change: () => change(name, input.value.trim()) });
      return h("label", { for: `f-${name}` }, h("span", null, name.replace("min_duration", "at least")), input);
    }), pause);
}

const keyOf = (r: RequestSummary): string => r.trace_id + r.span_id;

function draw(list: RequestSummary[], seen: Set<string>) {
  if (list.length === 0) return empty("No request matches. Send one through the gateway, or loosen the filter.");
  const longest = Math.max(...list.map((r) => r.duration_ms));
  const first = seen.size === 0;
  return section("Requests", list.length, table("Requests, newest first", ["Time", "Status", "Request", "Took", "Through", ">Attempts", "Request ID"],
    list.map((r) => {
      const href = path("requests", r.request_id || r.trace_id);
      return h("tr", { class: [r.error ? "failed" : "", !first && !seen.has(keyOf(r)) ? "fresh" : ""].join(" "), "data-row": true, "data-href": href, "data-key": keyOf(r) },
        h("td", null, moment(r.start)), h("td", null, status(r.status)),
        h("td", { class: "route" }, h("span", { class: "method" }, r.method), " ", r.route),
        h("td", null, h("span", { class: "took" }, h("i", { style: { width: `${Math.max(2, (100 * r.duration_ms) / longest)}%` } }), h("span", null, millis(r.duration_ms)))),
        h("td", null, h("span", { class: "beads", title: r.services.join(", ") }, r.services.map((x) => h("i", { class: `dot ${dye(x)}` })), h("span", { class: "unseen" }, plural(r.services.length, "service"))),
          r.dropped_traceparent_by.length > 0 ? h("span", { class: "mended", title: `${r.dropped_traceparent_by.join(", ")} dropped traceparent` }, "mended") : null),
        h("td", { class: r.attempts > 1 ? "n warn" : "n" }, r.attempts), h("td", null, h("a", { class: "id", href, title: r.request_id }, shortID(r.request_id || r.trace_id))));
    })));
}


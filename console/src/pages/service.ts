import { get, poll } from "../api";
import { h, replace } from "../dom";
import { nanos, percent } from "../format";
import type { Page } from "../page";
import { alertCard, dye, empty, endpointLink, evidence, path, red, section, serviceLink, state, table, time, verdictTable } from "../parts";
import type { Endpoint, ServiceDetail, Verdict } from "../types";

export const service: Page = ([name = ""], _query, shell) => {
  const body = h("div", null, empty("Asking the collector…"));
  const stop = poll((signal) => get<ServiceDetail>(`/api/services/${encodeURIComponent(name)}`, signal), 2000, (answer) => {
    replace(body, draw(answer));
    shell.fine();
  }, shell.failed);
  return { title: name, body, stop };
};

function draw(x: ServiceDetail) {
  const names = (list: string[]) => list.map((n, i) => [i > 0 ? ", " : "", serviceLink(n)]);
  return [
    h("div", { class: "masthead" },
      h("h1", null, h("i", { class: `spool ${dye(x.service)}` }), x.service), state(x.state), red(x),
      h("p", { class: "fine" }, x.called_by.length > 0 ? ["Called by ", names(x.called_by), ". "] : "Called from outside. ",
        x.calls.length > 0 ? ["Calls ", names(x.calls), ". "] : "Calls nobody. ",
        h("a", { href: "/requests?" + new URLSearchParams({ service: x.service }).toString() }, "Its requests"))),
    ...x.alerts.filter((a) => a.status !== "resolved").map(alertCard),
    section("Endpoints", x.endpoints.length,
      table(`Endpoints of ${x.service}`, ["Endpoint", "Health", "Weight", ">Errors", ">p99", "Why", ">Since", "Address"], x.endpoints.map(row))),
    section("Verdicts", x.verdicts.length, x.verdicts.length > 0 ? verdictTable(`Verdicts on ${x.service}, newest first`, x.verdicts)
      : empty("No verdict has been made on this service: everything about it was ordinary.")),
  ];
}

function row(e: Endpoint): HTMLElement {
  const v = e.verdict;
  return h("tr", { "data-row": true, "data-href": path("endpoints", ...e.endpoint.split("/")), "data-key": e.endpoint },
    h("th", { scope: "row" }, endpointLink(e.endpoint, e.instance)), h("td", null, state(e.state)), h("td", null, weight(e.weight)),
    h("td", { class: "n" }, v && v.evidence.attempts > 0 ? percent(v.evidence.error_ratio) : "–"),
    h("td", { class: "n" }, v ? nanos(v.evidence.p99_ns) : "–"), h("td", { class: "wide" }, v?.reason ?? "not judged"),
    h("td", { class: "n" }, v ? time(v.since) : "–"), h("td", null, h("code", null, e.address)));
}

export function weight(of: number): HTMLElement {
  return h("span", { class: "weight" }, h("meter", { min: 0, max: 100, value: of, "aria-label": "weight" }), h("span", null, of));
}

interface Found { endpoint: Endpoint | undefined; detail: ServiceDetail; history: Verdict[] }

export const endpoint: Page = ([name = "", instance = ""], _query, shell) => {
  const key = `${name}/${instance}`;
  const body = h("div", null, empty("Asking the collector…"));
  const stop = poll<Found>(async (signal) => {
    const [detail, list] = await Promise.all([
      get<ServiceDetail>(`/api/services/${encodeURIComponent(name)}`, signal),
      get<{ verdicts: Verdict[] }>(`/api/verdicts?history=true&endpoint=${encodeURIComponent(key)}`, signal),
    ]);
    return { detail, endpoint: detail.endpoints.find((e) => e.endpoint === key), history: list.verdicts };
  }, 2000, (found) => {
    replace(body, drawEndpoint(name, instance, found));
    shell.fine();
  }, shell.failed);
  return { title: instance, body, stop };
};

function drawEndpoint(name: string, instance: string, found: Found) {
  const e = found.endpoint;
  const v = e?.verdict ?? found.history.find((x) => x.current) ?? null;
  const alerts = found.detail.alerts.filter((a) => a.endpoint === `${name}/${instance}`);
  return [
    h("div", { class: "masthead" },
      h("h1", null, h("i", { class: `spool ${dye(name)}` }), instance), state(e?.state ?? v?.state ?? "unknown"),
      h("p", { class: "fine" }, "An endpoint of ", serviceLink(name), e ? [" at ", h("code", null, e.address)] : " that is no longer registered")),
    v ? h("blockquote", { class: `verdict ${v.state}` },
      h("p", null, v.reason || "Nothing speaks against it."),
      h("footer", null, `verdict ${v.version}`, v.enforced ? `, every proxy gives it ${v.weight} % of its share` : ", observed and not enforced", ", ", time(v.since))) : null,
    v ? section("Evidence", null, evidence(v.evidence)) : empty("It has not been judged: nothing calls it, or it has no proxy."),
    alerts.length > 0 ? section("Alerts", alerts.length, alerts.map(alertCard)) : null,
    found.history.length > 0 ? section("Verdicts", found.history.length, verdictTable(`Verdicts on ${instance}`, found.history)) : null,
  ];
}

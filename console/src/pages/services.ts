import { get, poll } from "../api";
import { h, replace, s } from "../dom";
import { millis, percent, plural, rate } from "../format";
import type { Page } from "../page";
import { dye, empty, knownServices, path, section, serviceLink, state, strands, table, type Strand } from "../parts";
import type { Alerts, Service, Verdict } from "../types";

interface Answer { services: Service[]; verdicts: Verdict[]; firing: number }

export const services: Page = (_params, _query, shell) => {
  const body = h("div", null, empty("Asking the collector…"));
  const stop = poll<Answer>(async (signal) => {
    const [a, b, c] = await Promise.all([
      get<{ services: Service[] }>("/api/services", signal), get<{ verdicts: Verdict[] }>("/api/verdicts", signal), get<Alerts>("/api/alerts", signal),
    ]);
    return { services: a.services, verdicts: b.verdicts, firing: c.alerts.filter((x) => x.status === "firing").length };
  }, 2000, (answer) => {
    knownServices(answer.services.map((x) => x.service));
    replace(body, draw(answer));
    shell.fine();
  }, shell.failed);
  return { title: "Services", body, stop };
};

function draw(answer: Answer) {
  if (answer.services.length === 0) {
    return empty("No service has been seen yet. Send a request through the gateway, or point an app's OTLP exporter at the agent.");
  }
  const ill = answer.services.filter((x) => x.state === "ejected" || x.state === "degraded").length;
  return [
    h("p", { class: `lede ${ill > 0 ? "bad" : ""}` },
      ill === 0 ? `${plural(answer.services.length, "service")}, every thread holds.` : `${ill} of ${plural(answer.services.length, "service")} ${ill === 1 ? "has" : "have"} an unhealthy endpoint.`, " ",
      answer.firing > 0 ? h("a", { href: "/alerts" }, plural(answer.firing, "alert") + " firing") : null),
    h("div", { class: "beside" },
      section("Services", answer.services.length,
        table("Services with health, rate, errors and latency", ["Service", "Health", "Endpoints", ">req/s", ">Errors", ">p99"], [...answer.services].sort(worstFirst).map((x) => row(x, answer.verdicts)))),
      section("Who calls whom", null, draft(answer.services))),
  ];
}

const order = ["ejected", "degraded", "probing", "healthy", "unknown"];
const worstFirst = (a: Service, b: Service): number => order.indexOf(a.state) - order.indexOf(b.state) || a.service.localeCompare(b.service);

function row(x: Service, verdicts: Verdict[]): HTMLElement {
  const known: Strand[] = verdicts.filter((v) => v.service === x.service && v.current !== false)
    .map((v) => ({ key: v.endpoint, instance: v.instance, state: v.state, weight: v.weight }))
    .sort((a, b) => a.instance.localeCompare(b.instance));
  const more = x.endpoints - known.length;
  return h("tr", { "data-row": true, "data-href": path("services", x.service), "data-key": x.service },
    h("th", { scope: "row" }, serviceLink(x.service)), h("td", null, state(x.state)),
    h("td", null, strands(known), more > 0 ? h("span", { class: "fine" }, known.length > 0 ? ` +${more}` : plural(more, "endpoint")) : null),
    h("td", { class: "n" }, rate(x.rate)), h("td", { class: x.error_ratio >= 0.01 ? "n bad" : "n" }, percent(x.error_ratio)),
    h("td", { class: "n" }, millis(x.p99_ms)));
}

// draft draws who calls whom as a weaver's draft: a row of weft for each caller, a warp thread for each called service,
// and a filled square where the one passes over the other.
function draft(list: Service[]): Element {
  const callers = list.filter((x) => x.calls.length > 0);
  const called = [...new Set(callers.flatMap((x) => x.calls))].sort();
  if (callers.length === 0) return empty("No service has called another yet.");
  callers.sort((a, b) => depth(a.service, list) - depth(b.service, list) || a.service.localeCompare(b.service));
  called.sort((a, b) => depth(a, list) - depth(b, list) || a.localeCompare(b));
  const cell = 26;
  const left = 10 + 7.6 * Math.max(...callers.map((x) => x.service.length));
  const top = 14 + 6.6 * Math.max(...called.map((x) => x.length));
  const width = left + called.length * cell + 30;
  const height = top + callers.length * cell + 4;
  const words = callers.map((x) => `${x.service} calls ${x.calls.join(", ")}`).join("; ");
  const at = (i: number) => left + i * cell + cell / 2;
  return h("figure", { class: "draft" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Who calls whom: ${words}` },
      called.map((name, i) => [
        s("line", { class: `warp ${dye(name)}`, x1: at(i), x2: at(i), y1: top - 4, y2: height }),
        s("a", { href: path("services", name) }, s("text", { x: 0, y: 0, transform: `translate(${at(i) + 3} ${top - 9}) rotate(-52)` }, name)),
      ]),
      callers.map((x, j) => {
        const y = top + j * cell + cell / 2;
        return [
          s("line", { class: `weft ${dye(x.service)}`, x1: left - 4, x2: left + called.length * cell, y1: y, y2: y }),
          s("a", { href: path("services", x.service) }, s("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, x.service)),
          x.calls.map((to) => s("rect", { class: `over ${dye(x.service)}`, x: at(called.indexOf(to)) - 8, y: y - 8, width: 16, height: 16, rx: 2 },
            s("title", null, `${x.service} calls ${to}`))),
        ];
      })),
    h("figcaption", null, "Callers across, called services down. A square is a call."));
}

function depth(name: string, list: Service[], seen = new Set<string>()): number {
  if (seen.has(name)) return 0;
  seen.add(name);
  const by = list.find((x) => x.service === name)?.called_by ?? [];
  return by.length === 0 ? 0 : 1 + Math.max(...by.map((from) => depth(from, list, seen)));
}

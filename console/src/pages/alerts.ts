import { get, poll } from "../api";
import { announce, type Child, h, replace } from "../dom";
import { plural } from "../format";
import type { Page } from "../page";
import { alertCard, empty, figure, section, table, time } from "../parts";
import type { Alerts, Outbox } from "../types";

export const alerts: Page = (_params, _query, shell) => {
  const body = h("div", null, empty("Asking the collector…"));
  const stop = poll((signal) => get<Alerts>("/api/alerts", signal), 2000, (answer) => {
    replace(body, draw(answer));
    announce(plural(answer.alerts.filter((a) => a.status === "firing").length, "alert") + " firing");
    shell.fine();
  }, shell.failed);
  return { title: "Alerts", body, stop };
};

function draw(answer: Alerts) {
  const open = answer.alerts.filter((a) => a.status !== "resolved");
  const over = answer.alerts.filter((a) => a.status === "resolved");
  return [
    section("Firing", open.length, open.length > 0 ? open.map(alertCard) : empty("Nothing needs you.")),
    answer.outbox ? outbox(answer.outbox) : null,
    section("Resolved", over.length, over.length > 0 ? over.map(alertCard) : empty("No alert has ended yet.")),
  ];
}

function outbox(box: Outbox): HTMLElement {
  const dead = box.dead_letters ?? [];
  const retrying = box.retrying ?? [];
  return section("Outbox", null,
    h("dl", { class: "figures" },
      figure("sent", String(box.sent)), figure("waiting", String(box.queued), retrying.length > 0), figure("refused", String(box.refused), box.refused > 0),
      box.not_durable > 0 ? figure("not durable", String(box.not_durable), true) : null),
    h("p", { class: "fine" }, box.webhook ? ["Pages go to ", h("code", null, box.webhook), "."] : "No webhook is configured: alerts are shown here and sent nowhere."),
    retrying.length > 0 ? [h("h3", null, "Not accepted yet"), table("Notifications being retried", ["Group", ">Tries", "Last answer", ">Next try"],
      retrying.map((r) => h("tr", null, h("td", null, h("code", null, r.group_key)), h("td", { class: "n" }, r.attempts), h("td", { class: "wide" }, r.last_error), h("td", { class: "n" }, until(r.next_try)))))] : null,
    dead.length > 0 ? [h("h3", null, "Dead letters"), table("Notifications the receiver refused", ["Group", ">Alerts", "Refused because", ">When"],
      dead.map((d) => h("tr", null, h("td", null, h("code", null, d.group_key)), h("td", { class: "n" }, d.alerts), h("td", { class: "wide" }, d.reason), h("td", { class: "n" }, time(d.at)))))] : null);
}

function until(iso: string): string {
  const seconds = Math.round((Date.parse(iso) - Date.now()) / 1000);
  return seconds <= 0 ? "now" : `in ${seconds} s`;
}

interface Runbook { title: string; body: () => Child }

const runbooks: Record<string, Runbook> = {
  EndpointUnhealthy: { title: "An endpoint is unhealthy", body: () => [
    h("p", null, "Several proxies, together, saw one endpoint fail more than its own past and more than the rest of its service. The alert says what routing has already done; if it says that proxies left the endpoint, users are most likely fine by now, and the question is why it fails."),
    steps(
      ["Open one of the example requests. ", "The waterfall shows the failed attempt, the logs of the endpoint inside it, and where the retry went."],
      ["Look at what changed. ", "The endpoint's page names its verdicts. A fault that began with a new version is most often that version."],
      ["See whether the rest can carry it. ", "On the service's page the other endpoints' latency must not climb. If it does, add endpoints first."],
      ["Repair or replace the endpoint. ", "It returns by itself: one probe, then a slow start. Restarting a proxy is never needed."],
      ["If it is the only endpoint, ", "nothing could be moved: its callers fail until it is back."]),
    h("p", null, "From a terminal: ", h("code", null, "weft why <endpoint>"), " prints the evidence, ", h("code", null, "weft request <id>"), " the story of one request."),
  ] },
  DiskNearlyFull: { title: "The collector's disk is nearly full", body: () => [
    h("p", null, "Nothing is lost yet. At the reserve the stores refuse what comes, agents keep it on their own disks and send it later; what was acknowledged stays. New requests cannot be looked up until there is room."),
    steps(
      ["Look at who fills the disk. ", "If it is not Weft's folder, free that first: the stores resume by themselves within seconds."],
      ["Keep less. ", "Lower retention by age or bytes of traces, logs or metrics under extensions.store. A reload applies it."],
      ["Or give it more room: ", "a larger volume. Moving the folder is a copy while the collector is stopped."]),
  ] },
  StoreRefuses: { title: "A store refuses what it is sent", body: () => [
    h("p", null, "The collector pushes back. Agents keep what they have acknowledged and try again for ever, within their own disk's limit; then they push back, too, and proxies drop their oldest items and count them. Requests themselves are not touched."),
    steps(
      ["Read the reason in the alert. ", "A full disk: make room, see DiskNearlyFull. A slow or broken disk: look at the machine's own log."],
      ["See how long there is. ", "weft_queue_disk_bytes against weft_queue_limit_bytes on each agent says how full its queue is."],
      ["Restarting is not needed: ", "it resumes by itself once it can write."]),
  ] },
};

function steps(...all: [string, string][]): HTMLElement {
  return h("ol", null, all.map(([what, how]) => h("li", null, h("b", null, what), how)));
}

export const runbook: Page = ([name = ""]) => {
  const found = Object.hasOwn(runbooks, name) ? runbooks[name] : undefined;
  return {
    title: name,
    body: h("article", { class: "prose" }, h("h1", null, found?.title ?? name), found ? found.body() : empty("There is no runbook of this name.")),
  };
};

// The shell: the head, the router and the keyboard.

import { get, poll, Problem } from "./api";
import { announce, h, replace, s } from "./dom";
import type { Page, Shell, Shown } from "./page";
import { alerts, runbook } from "./pages/alerts";
import { request } from "./pages/request";
import { requests } from "./pages/requests";
import { endpoint, service } from "./pages/service";
import { services } from "./pages/services";
import { empty, growOld, knownServices, path } from "./parts";
import type { Alerts, Service } from "./types";

const routes: [RegExp, Page][] = [
  [/^\/(?:services)?$/, services],
  [/^\/services\/([^/]+)$/, service],
  [/^\/endpoints\/([^/]+)\/([^/]+)$/, endpoint],
  [/^\/requests$/, requests],
  [/^\/requests\/([^/]+)$/, request],
  [/^\/alerts$/, alerts],
  [/^\/runbooks\/([^/]+)$/, runbook],
];

const main = document.getElementById("main")!;
let shown: Shown | null = null;
let known: string[] = [];

const trouble = h("p", { class: "trouble", role: "alert", hidden: true });

const shell: Shell = {
  go(url) {
    history.pushState(null, "", url);
    show();
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  },
  setQuery(query) {
    const text = query.toString();
    history.replaceState(null, "", location.pathname + (text ? "?" + text : ""));
  },
  fine() {
    trouble.hidden = true;
  },
  failed(e) {
    trouble.hidden = false;
    trouble.textContent = e instanceof Problem ? `${e.message}. ${e.detail}` : "The collector does not answer. What you see is what it said last; asking again.";
  },
};

function show(): void {
  shown?.stop?.();
  shell.fine();
  shown = null;
  for (const [pattern, page] of routes) {
    const match = pattern.exec(location.pathname);
    if (!match) continue;
    shown = page(match.slice(1).map(decode), new URLSearchParams(location.search), shell);
    break;
  }
  shown ??= { title: "Not found", body: h("div", { class: "empty" }, h("h1", null, "There is no such page"), h("p", null, h("a", { href: "/" }, "To the services"))) };
  document.title = `${shown.title} · Weft`;
  replace(main, trouble, shown.body);
  announce(shown.title);
  for (const a of document.querySelectorAll<HTMLAnchorElement>("#head nav a")) {
    const here = a.pathname === "/" ? /^\/(services|endpoints|$)/.test(location.pathname) : location.pathname.startsWith(a.pathname);
    a.toggleAttribute("aria-current", here);
    if (here) a.setAttribute("aria-current", "page");
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// whereTo says what a person means by what they typed: an endpoint, a service, or else an ID.
function whereTo(typed: string): string {
  const [name, instance, ...more] = typed.split("/");
  if (name && instance && more.length === 0) return path("endpoints", name, instance);
  return known.includes(typed) ? path("services", typed) : path("requests", typed);
}

const search = h("input", { id: "search", type: "search", name: "id", placeholder: "Request ID, trace ID, service…", "aria-label": "Search by request ID, trace ID, client's ID, service or endpoint", autocomplete: "off", spellcheck: "false", list: "known-services" });
const suggestions = h("datalist", { id: "known-services" });
const firing = h("span", { class: "badge", hidden: true });

const help = h("dialog", { class: "help", "aria-label": "Keyboard" }, h("h2", null, "Keyboard"),
  h("dl", null, [["/", "search"], ["j", "next row"], ["k", "previous row"], ["Enter", "open the row"], ["g s", "services"], ["g r", "requests"], ["g a", "alerts"], ["?", "this help"], ["Esc", "close"]].map(([key, what]) =>
    h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what)))),
  h("form", { method: "dialog" }, h("button", null, "Close")));

function head(): void {
  document.getElementById("head")!.append(
    h("a", { class: "brand", href: "/", "aria-label": "Weft, to the services" },
      s("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" }, s("path", { class: "warp", d: "M10 4v24M22 4v24" }), s("path", { class: "weft", d: "M3 11h4.500M12.500 11H29M3 21h16.500M24.500 21H29" })), h("b", null, "Weft")),
    h("nav", { "aria-label": "Main" }, h("a", { href: "/" }, "Services"), h("a", { href: "/requests" }, "Requests"), h("a", { href: "/alerts" }, "Alerts", firing)),
    h("form", { class: "search", role: "search", submit: (e) => {
      e.preventDefault();
      const typed = search.value.trim().replace(/^\/+/, "");
      if (typed) shell.go(whereTo(typed));
      search.value = "";
      search.blur();
    } }, search, h("kbd", { "aria-hidden": "true" }, "/"), suggestions),
    h("button", { type: "button", class: "ask", "aria-label": "Keyboard help", click: () => help.showModal() }, "?"));
  document.body.append(help);
}

let row: HTMLElement | null = null;

function step(by: number): void {
  const rows = [...main.querySelectorAll<HTMLElement>("[data-row]")];
  if (rows.length === 0) return;
  const at = row ? rows.findIndex((x) => x === row || (row?.dataset.key !== undefined && x.dataset.key === row.dataset.key)) : -1;
  select(rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by))]!);
}

function select(next: HTMLElement): void {
  row?.classList.remove("at");
  row = next;
  row.classList.add("at");
  const target = row.querySelector<HTMLElement>("a[href],button");
  target?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

let waiting = "";

function key(e: KeyboardEvent): void {
  const typing = e.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) && (e.target as HTMLInputElement).type !== "checkbox";
  if (e.key === "Escape" && typing) (e.target as HTMLElement).blur();
  if (typing || e.ctrlKey || e.metaKey || e.altKey || help.open) return;
  const before = waiting;
  waiting = "";
  if (before === "g") {
    const to = ({ s: "/", r: "/requests", a: "/alerts" } as Record<string, string>)[e.key];
    if (to) return shell.go(to);
  }
  if (e.key === "/") {
    e.preventDefault();
    search.focus();
  } else if (e.key === "j") step(1);
  else if (e.key === "k") step(-1);
  else if (e.key === "?") help.showModal();
  else if (e.key === "g") waiting = "g";
}

function click(e: MouseEvent): void {
  if (e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || !(e.target instanceof Element)) return;
  const a = e.target.closest("a");
  if (a) {
    const href = a.getAttribute("href") ?? "";
    if (!href.startsWith("/") || href.startsWith("/api/")) return;
    e.preventDefault();
    shell.go(href);
    return;
  }
  const href = e.target.closest<HTMLElement>("tr[data-href]")?.dataset.href;
  if (href && !e.target.closest("button,input,label") && !getSelection()?.toString()) shell.go(href);
}

function watchMesh(): void {
  poll(async (signal) => {
    const [a, b] = await Promise.all([get<{ services: Service[] }>("/api/services", signal), get<Alerts>("/api/alerts", signal)]);
    return { names: a.services.map((x) => x.service).sort(), firing: b.alerts.filter((x) => x.status === "firing").length };
  }, 5000, (mesh) => {
    known = mesh.names;
    knownServices(known);
    replace(suggestions, known.map((name) => h("option", { value: name })));
    firing.hidden = mesh.firing === 0;
    firing.textContent = String(mesh.firing);
    firing.setAttribute("aria-label", `${mesh.firing} firing`);
  }, () => {});
}

async function start(): Promise<void> {
  head();
  replace(main, empty("Asking the collector…"));
  // The dyes are handed out by name before anything is drawn, so that a thread keeps its colour from page to page.
  await get<{ services: Service[] }>("/api/services").then((a) => knownServices(a.services.map((x) => x.service)), () => {});
  addEventListener("popstate", show);
  addEventListener("keydown", key);
  addEventListener("click", click);
  show();
  watchMesh();
  setInterval(growOld, 1000);
}

void start();

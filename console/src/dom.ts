// Elements are only ever made here, and text only ever becomes text nodes: telemetry is written by strangers.

export type Child = Node | string | number | null | undefined | false | Child[];
type Props = Record<string, string | number | boolean | null | undefined | ((e: Event) => void) | Record<string, string>>;

const svgNames = "http://www.w3.org/2000/svg";

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props?: Props | null, ...children: Child[]): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), props, children);
}

export function s<K extends keyof SVGElementTagNameMap>(tag: K, props?: Props | null, ...children: Child[]): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(svgNames, tag) as SVGElementTagNameMap[K], props, children);
}

function fill<E extends HTMLElement | SVGElement>(el: E, props: Props | null | undefined, children: Child[]): E {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") el.addEventListener(name, value);
    else if (typeof value === "object") for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  append(el, children);
  return el;
}

function append(el: Element, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) append(el, child);
    else if (child instanceof Node) el.append(child);
    else if (child !== null && child !== undefined && child !== false) el.append(String(child));
  }
}

// replace swaps the contents of el, and puts the focus back on, or into, the element that has the same data-key.
export function replace(el: Element, ...children: Child[]): void {
  const focused = document.activeElement?.closest<HTMLElement>("[data-key]");
  const inside = focused !== null && focused !== undefined && el.contains(focused);
  const chosen = el.querySelector<HTMLElement>(".at[data-key]")?.dataset.key;
  el.replaceChildren();
  append(el, children);
  const again = (key: string | undefined) => (key === undefined ? null : el.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`));
  again(chosen)?.classList.add("at");
  if (!inside) return;
  const target = again(focused.dataset.key);
  (target?.matches("a,button,input") ? target : target?.querySelector<HTMLElement>("a[href],button"))?.focus({ preventScroll: true });
}

export function announce(text: string): void {
  const el = document.getElementById("announce");
  if (el && el.textContent !== text) el.textContent = text;
}

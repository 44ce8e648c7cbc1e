// From a flat list of spans and logs to the rows of a waterfall. Pure.

import type { Log, Span } from "./types";

export interface SpanRow {
  span: Span;
  depth: number;
  children: number;
  logs: Log[]; // in time order
}

export interface Waterfall {
  start: number; // Unix nanoseconds of the earliest thing shown
  length: number; // nanoseconds, at least 1
  rows: SpanRow[];
  loose: Log[]; // logs that belong to no span shown
}

// weave orders spans parent before child, siblings by start. A span whose parent is missing, or whose parents form a
// ring, stands at the top: nothing is ever left out.
export function weave(spans: Span[], logs: Log[]): Waterfall {
  const byID = new Map(spans.map((span) => [span.span_id, span]));
  const children = new Map<string, Span[]>();
  const roots: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.start_unix_nano - b.start_unix_nano)) {
    const parent = [span.parent_span_id, span.adopted_parent_span_id].find((id) => id && id !== span.span_id && byID.has(id));
    if (parent === undefined) roots.push(span);
    else children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const logsOf = new Map<string, Log[]>();
  const loose: Log[] = [];
  for (const log of [...logs].sort((a, b) => a.time_unix_nano - b.time_unix_nano)) {
    if (byID.has(log.span_id)) logsOf.set(log.span_id, [...(logsOf.get(log.span_id) ?? []), log]);
    else loose.push(log);
  }
  const rows: SpanRow[] = [];
  const seen = new Set<string>();
  const visit = (span: Span, depth: number): void => {
    if (seen.has(span.span_id)) return;
    seen.add(span.span_id);
    const below = children.get(span.span_id) ?? [];
    rows.push({ span, depth, children: below.length, logs: logsOf.get(span.span_id) ?? [] });
    for (const child of below) visit(child, depth + 1);
  };
  for (const root of roots) visit(root, 0);
  for (const span of spans) visit(span, 0);

  let start = Infinity;
  let end = -Infinity;
  for (const { span } of rows) {
    start = Math.min(start, span.start_unix_nano);
    end = Math.max(end, span.start_unix_nano + span.duration_ns);
  }
  for (const log of logs) {
    start = Math.min(start, log.time_unix_nano);
    end = Math.max(end, log.time_unix_nano);
  }
  if (!Number.isFinite(start)) start = end = 0;
  return { start, length: Math.max(1, end - start), rows, loose };
}

// ticks are round numbers of nanoseconds from 0 to length, about count of them.
export function ticks(length: number, count: number): number[] {
  const rough = length / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough) ?? rough;
  const out: number[] = [];
  for (let t = 0; t <= length; t += step) out.push(t);
  return out;
}

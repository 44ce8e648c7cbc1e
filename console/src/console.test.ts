import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, millis, percent, rate } from "./format";
import { ticks, weave } from "./tree";
import type { Log, Span } from "./types";

const span = (id: string, parent: string, start: number, extra: Partial<Span> = {}): Span => ({
  trace_id: "t", span_id: id, parent_span_id: parent, service: "s", instance: "s-1", endpoint: "s-1", name: id, kind: "server",
  start_unix_nano: start, duration_ns: 10, status: "unset", attempt: 0, attributes: {}, ...extra,
});
const log = (id: string, at: number): Log => ({ time_unix_nano: at, service: "s", instance: "s-1", severity: "INFO", body: "", span_id: id, attributes: {} });

test("weave: parents first, siblings by start, logs with their span", () => {
  const w = weave([span("b2", "a", 30), span("a", "", 10), span("b1", "a", 20), span("c", "b1", 21)], [log("c", 25), log("c", 22), log("?", 5)]);
  assert.deepEqual(w.rows.map((r) => [r.span.span_id, r.depth, r.logs.length]), [["a", 0, 0], ["b1", 1, 0], ["c", 2, 2], ["b2", 1, 0]]);
  assert.equal(w.rows[2]!.logs[0]!.time_unix_nano, 22);
  assert.deepEqual([w.start, w.length, w.loose.length], [5, 35, 1]);
});

test("weave: an adopted parent, a missing parent, a ring and a span that is its own parent all show", () => {
  const w = weave([span("a", "", 0), span("x", "gone", 2, { adopted_parent_span_id: "a" }), span("y", "gone", 3), span("r1", "r2", 4), span("r2", "r1", 5), span("z", "z", 6)], []);
  assert.deepEqual(w.rows.map((r) => r.span.span_id).sort(), ["a", "r1", "r2", "x", "y", "z"]);
  assert.equal(w.rows.find((r) => r.span.span_id === "x")!.depth, 1);
});

test("weave: nothing", () => {
  assert.deepEqual(weave([], []), { start: 0, length: 1, rows: [], loose: [] });
});

test("ticks are round and within", () => {
  assert.deepEqual(ticks(41_700_000, 5), [0, 10_000_000, 20_000_000, 30_000_000, 40_000_000]);
  assert.equal(ticks(1, 5)[0], 0);
});

test("format", () => {
  assert.deepEqual([0.25, 9.96, 41.7, 1500, 61_000, NaN].map(millis), ["250 µs", "10.0 ms", "42 ms", "1.50 s", "61 s", "–"]);
  assert.deepEqual([0, 0.0004, 0.004, 0.301].map(percent), ["0 %", "< 0.1 %", "0.4 %", "30 %"]);
  assert.deepEqual([0, 0.04, 31.2].map(rate), ["0", "0.0", "31"]);
  assert.equal(ago("2026-11-22T12:00:00Z", Date.parse("2026-11-22T12:03:00Z")), "3 min ago");
});

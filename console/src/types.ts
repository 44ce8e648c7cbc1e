// The collector's JSON API, as far as the console reads it.

export type State = "healthy" | "degraded" | "ejected" | "probing" | "unknown";

export interface Evidence {
  attempts: number;
  failures: number;
  error_ratio: number;
  baseline_error_ratio: number;
  p99_ns: number;
  rest_p99_ns: number;
  window_ns: number;
  reporters: string[] | null;
  witnesses: string[] | null;
  request_ids: string[] | null;
  test: string;
}

export interface Verdict {
  endpoint: string; // "payment/payment-2"
  service: string;
  instance: string;
  address: string;
  state: State;
  weight: number;
  version: number;
  enforced: boolean;
  reason: string;
  since: string;
  current: boolean;
  evidence: Evidence;
}

export interface Alert {
  fingerprint: string;
  name: string;
  status: string;
  severity: string;
  endpoint: string; // "payment/payment-2", empty when it names none
  subject?: string; // what it is about instead
  summary: string;
  annotations: Record<string, string>;
  starts_at: string;
  ends_at: string | null;
  request_ids: string[] | null;
}

export interface DeadLetter { id: string; group_key: string; at: string; reason: string; alerts: number; attempts: number }
export interface Retrying { id: string; group_key: string; attempts: number; next_try: string; last_error: string }
export interface Outbox {
  queued: number;
  sent: number;
  refused: number;
  not_durable: number;
  webhook: string;
  dead_letters: DeadLetter[] | null;
  retrying: Retrying[] | null;
}
export interface Alerts { alerts: Alert[]; outbox?: Outbox }

export interface Service {
  service: string;
  rate: number;
  error_ratio: number;
  p99_ms: number;
  state: State;
  endpoints: number;
  endpoints_healthy: number;
  calls: string[];
  called_by: string[];
}

export interface Endpoint { endpoint: string; instance: string; address: string; state: State; weight: number; verdict: Verdict | null }

export interface ServiceDetail extends Omit<Service, "endpoints" | "endpoints_healthy"> {
  endpoints: Endpoint[];
  verdicts: Verdict[];
  alerts: Alert[];
}

export interface RequestSummary {
  request_id: string;
  trace_id: string;
  client_request_id: string;
  start: string;
  duration_ms: number;
  status: number;
  method: string;
  route: string;
  service: string;
  services: string[];
  error: boolean;
  attempts: number;
  dropped_traceparent_by: string[];
  span_id: string;
}

export interface Routing {
  service: string;
  endpoint: string;
  address: string;
  pick: string;
  weight: number;
  verdict_version: string;
  outcome: string;
}

export type Attributes = Record<string, unknown>;

export interface Span {
  trace_id: string;
  span_id: string;
  parent_span_id: string;
  adopted_parent_span_id?: string;
  service: string;
  instance: string;
  endpoint: string;
  name: string;
  kind: string;
  start_unix_nano: number;
  duration_ns: number;
  status: string;
  status_message?: string;
  attempt: number;
  proxy?: string;
  attributes: Attributes;
  events?: { time_unix_nano: number; name: string; attributes: Attributes }[];
  routing?: Routing;
}

export interface Log {
  time_unix_nano: number;
  service: string;
  instance: string;
  severity: string;
  body: string;
  span_id: string;
  attributes: Attributes;
}

export interface ServiceRates { service: string; rate: number; error_ratio: number; p99_ms: number }

export interface Request extends Omit<RequestSummary, "services" | "span_id"> {
  trace_ids: string[];
  spans: Span[];
  logs: Log[];
  services: ServiceRates[];
  verdicts: Verdict[];
  alerts: Alert[];
  requests: RequestSummary[];
  incomplete: string[];
}

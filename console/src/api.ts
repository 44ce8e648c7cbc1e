// The collector, asked over its JSON API.

export class Problem extends Error {
  constructor(readonly status: number, title: string, readonly detail: string) {
    super(title);
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await fetch(path, { headers: { accept: "application/json" }, ...(signal ? { signal } : {}) });
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string };
    throw new Problem(response.status, problem.title ?? `The collector answered ${response.status}`, problem.detail ?? "");
  }
  return (await response.json()) as T;
}

// poll asks again and again while the page is in sight, and tells only of answers that differ from the last.
export function poll<T>(ask: (signal: AbortSignal) => Promise<T>, everyMs: number, tell: (answer: T) => void, fail: (e: unknown) => void): () => void {
  const stop = new AbortController();
  let last = "";
  let timer = 0;
  const once = async (): Promise<void> => {
    if (!document.hidden) {
      try {
        const answer = await ask(stop.signal);
        const text = JSON.stringify(answer);
        if (text !== last && !stop.signal.aborted) {
          last = text;
          tell(answer);
        }
      } catch (e) {
        if (stop.signal.aborted) return;
        last = "";
        fail(e);
      }
    }
    if (!stop.signal.aborted) timer = window.setTimeout(once, everyMs);
  };
  void once();
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}

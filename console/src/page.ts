// What a page is to the shell.

import type { Child } from "./dom";

export interface Shell {
  go(url: string): void; // follow a link
  setQuery(query: URLSearchParams): void; // change the query without leaving the page
  fine(): void; // an answer came
  failed(e: unknown): void; // none came
}

export interface Shown {
  title: string;
  body: Child;
  stop?: () => void;
}

export type Page = (params: string[], query: URLSearchParams, shell: Shell) => Shown;

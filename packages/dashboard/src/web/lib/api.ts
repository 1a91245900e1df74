import { type RouteName, routePath, routes } from '../../api/routes.ts';

/** Why a request did not give what was asked for. */
export class ApiError extends Error {
  /** `offline`: no answer at all; `unauthorized`: the token or cookie is not accepted; else the daemon's own code. */
  readonly code: string;
  /** HTTP status; 0 without an answer. */
  readonly status: number;

  constructor(code: string, message: string, status: number) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
  }
}

export interface CallOptions {
  parts?: Readonly<Record<string, string>>;
  query?: Readonly<Record<string, string | number | undefined>>;
  body?: unknown;
  signal?: AbortSignal;
}

/** What of `fetch` is used. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Longest text of the daemon that is shown as a message. */
const MAX_MESSAGE_CHARS = 600;

/** Calls the daemon's HTTP API. The cookie goes along by itself. */
export class Api {
  readonly #fetch: Fetch;
  readonly #onUnauthorized: () => void;

  constructor(components: { fetch: Fetch; onUnauthorized?: () => void }) {
    this.#fetch = components.fetch;
    this.#onUnauthorized = components.onUnauthorized ?? (() => {});
  }

  /**
   * Requests a route; the answer's JSON, undefined when it has none.
   * @throws ApiError; the signal's reason
   */
  async call<T>(name: RouteName, { parts = {}, query = {}, body, signal }: CallOptions = {}): Promise<T> {
    const { method } = routes[name];
    let response: Response;
    try {
      response = await this.#fetch(withQuery(routePath(name, parts), query), {
        method,
        credentials: 'same-origin',
        cache: 'no-store',
        redirect: 'error',
        headers: method === 'GET' ? {} : { 'content-type': 'application/json' },
        ...(method === 'GET' ? {} : { body: JSON.stringify(body ?? {}) }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError('offline', 'The daemon does not answer. Next: check that towpath up is running.', 0);
    }
    if (!response.ok) throw await this.#failure(name, response);
    if (response.status === 204) return undefined as T;
    const text = await response.text();
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiError('unexpected-answer', 'The daemon sent something that is not JSON.', response.status);
    }
  }

  async #failure(name: RouteName, response: Response): Promise<ApiError> {
    const { status } = response;
    if (status === 401 && name !== 'createSession') this.#onUnauthorized();
    const answer = await response.json().catch(() => undefined);
    const problem = (answer as { error?: { code?: unknown; message?: unknown } } | undefined)?.error;
    const message = typeof problem?.message === 'string' ? problem.message.slice(0, MAX_MESSAGE_CHARS) : '';
    const code = status === 401 ? 'unauthorized' : typeof problem?.code === 'string' ? problem.code : `http-${status}`;
    return new ApiError(code, message || `The daemon answered with status ${status}.`, status);
  }
}

/** Adds a query to a path; undefined values are left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const entries = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]));
  return entries.length === 0 ? path : `${path}?${new URLSearchParams(entries as [string, string][])}`;
}

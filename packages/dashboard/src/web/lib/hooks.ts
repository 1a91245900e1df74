import { createContext, useContext, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from 'react';
import { ApiError } from './api.ts';
import type { Session } from './session.ts';
import type { PageState } from './state.ts';
import type { Store } from './store.ts';

export interface PageContext {
  readonly session: Session;
  readonly page: Store<PageState>;
}

export const Page: React.Context<PageContext | undefined> = createContext<PageContext | undefined>(undefined);

export function usePage(): PageContext {
  const page = useContext(Page);
  if (page === undefined) throw new TypeError('Outside of a signed-in page.');
  return page;
}

export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** Follows a part of the state; draws again only when that part has changed. */
export function usePart<T>(select: (state: PageState) => T): T {
  const { page } = usePage();
  return useSyncExternalStore(page.subscribe, () => select(page.get()));
}

/** The time, renewed every `everyMs`. */
export function useNow(everyMs = 10_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export type Loaded<T> =
  | { readonly state: 'loading' }
  | { readonly state: 'ready'; readonly value: T }
  | { readonly state: 'failed'; readonly error: ApiError };

/**
 * Reads something when `key` changes, when the daemon's events were missed, and on `again`. What was read before stays
 * visible while it is read again.
 */
export function useLoaded<T>(
  key: string,
  read: (signal: AbortSignal) => Promise<T>,
): { readonly loaded: Loaded<T>; readonly again: () => void } {
  const { session } = usePage();
  const generation = useStore(session.generation);
  const [attempt, setAttempt] = useState(0);
  const [loaded, setLoaded] = useState<{ key: string; value: Loaded<T> }>({ key, value: { state: 'loading' } });
  const latest = useRef(read);
  latest.current = read;
  // biome-ignore lint/correctness/useExhaustiveDependencies: attempt and generation ask for another reading
  useEffect(() => {
    const stop = new AbortController();
    setLoaded((before) =>
      before.key === key && before.value.state === 'ready' ? before : { key, value: { state: 'loading' } },
    );
    latest.current(stop.signal).then(
      (value) => {
        if (!stop.signal.aborted) setLoaded({ key, value: { state: 'ready', value } });
      },
      (error: unknown) => {
        if (!stop.signal.aborted) setLoaded({ key, value: { state: 'failed', error: asApiError(error) } });
      },
    );
    return () => stop.abort();
  }, [key, generation, attempt]);
  return {
    loaded: loaded.key === key ? loaded.value : { state: 'loading' },
    again: () => setAttempt((count) => count + 1),
  };
}

/** Runs a request of a button: whether it runs, and why it failed. */
export function useRequest(): {
  readonly busy: boolean;
  readonly error: string | undefined;
  readonly run: (request: () => Promise<unknown>) => void;
} {
  const [state, setState] = useState<{ busy: boolean; error: string | undefined }>({ busy: false, error: undefined });
  const run = (request: () => Promise<unknown>): void => {
    setState({ busy: true, error: undefined });
    request().then(
      () => setState({ busy: false, error: undefined }),
      (error: unknown) => setState({ busy: false, error: asApiError(error).message }),
    );
  };
  return { ...state, run };
}

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError('internal', error instanceof Error ? error.message : String(error), 0);
}

/** Width of an element, px; 0 before it is drawn. */
export function useWidth<E extends HTMLElement>(): readonly [React.RefObject<E | null>, number] {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const { current } = element;
    if (current === null) return;
    const observer = new ResizeObserver(() => setWidth(current.clientWidth));
    observer.observe(current);
    setWidth(current.clientWidth);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

/**
 * Distance of an element from the top of the page, px. It is measured when the page has changed its size, after the
 * layout: a measurement while a component is drawn makes the browser lay out the page once more.
 */
export function usePageTop<E extends HTMLElement>(): readonly [React.RefObject<E | null>, number] {
  const element = useRef<E>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const measure = (): void => {
      if (element.current !== null) setTop(element.current.getBoundingClientRect().top + window.scrollY);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, []);
  return [element, top];
}

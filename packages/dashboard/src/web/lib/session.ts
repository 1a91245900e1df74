import type { DaemonEvent, EventBatch } from '../../api/events.ts';
import { routes } from '../../api/routes.ts';
import type { DaemonStatus } from '../../api/status.ts';
import { Api, ApiError, withQuery } from './api.ts';
import { EventStream, type Socket, type StreamState } from './event-stream.ts';
import { FrameBatch, type RequestFrame } from './frame-batch.ts';
import { initialState, type MediaChange, type PageAction, type PageState, reduce } from './state.ts';
import { Store } from './store.ts';

/** Where the page stands with the daemon. */
export type SessionState =
  | { readonly type: 'loading' }
  /** No token, or one that is not accepted. `message` says which, when something was tried. */
  | { readonly type: 'signed-out'; readonly message: string | undefined }
  | { readonly type: 'unreachable'; readonly message: string }
  | { readonly type: 'ready'; readonly page: Store<PageState> };

export interface SessionComponents {
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Opens a WebSocket at a path of the daemon. */
  openSocket(path: string): Socket;
  requestFrame: RequestFrame;
  schedule(callback: () => void, delayMs: number): () => void;
  random(): number;
  now(): number;
}

/** The page's connection to the daemon: signs in, reads the status, follows events, and starts again after a loss. */
export class Session {
  readonly api: Api;
  readonly state: Store<SessionState> = new Store<SessionState>({ type: 'loading' });
  readonly link: Store<StreamState> = new Store<StreamState>('connecting');
  /** Counts how often everything had to be read again; what a page has read itself is then old. */
  readonly generation: Store<number> = new Store(0);
  /** When the last message came, ms since the Unix epoch. */
  heardMs = 0;
  readonly #components: SessionComponents;
  readonly #batch: FrameBatch<DaemonEvent>;
  readonly #mediaListeners = new Set<(changes: readonly MediaChange[]) => void>();
  #stream: EventStream | undefined;

  constructor(components: SessionComponents) {
    this.#components = components;
    this.api = new Api({ fetch: components.fetch, onUnauthorized: () => this.#signedOut(undefined) });
    this.#batch = new FrameBatch({
      request: components.requestFrame,
      deliver: (events, dropped) => this.#deliver(events, dropped),
    });
  }

  /** Signs in with a token, if there is one, and reads everything. Never throws: the state says how it went. */
  async start(token: string | undefined): Promise<void> {
    this.state.set({ type: 'loading' });
    try {
      if (token !== undefined) await this.api.call('createSession', { body: { token } });
      const status = await this.api.call<DaemonStatus>('status');
      this.state.set({ type: 'ready', page: new Store(initialState(status)) });
      this.heardMs = this.#components.now();
      this.#follow(status);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.#signedOut(token === undefined ? undefined : error.message);
      else this.state.set({ type: 'unreachable', message: error.message });
    }
  }

  /** Connects now instead of after the pause: the page is seen again, or the network is back. */
  wake(): void {
    this.#stream?.connect();
  }

  dispatch(action: PageAction): void {
    const state = this.state.get();
    if (state.type === 'ready') state.page.set(reduce(state.page.get(), action));
  }

  /** Calls back with changes of pictures, once per frame. Returns what ends it. */
  onMedia(listener: (changes: readonly MediaChange[]) => void): () => void {
    this.#mediaListeners.add(listener);
    return () => this.#mediaListeners.delete(listener);
  }

  close(): void {
    this.#stream?.close();
    this.#stream = undefined;
    this.#batch.clear();
  }

  #follow(status: DaemonStatus): void {
    this.#stream?.close();
    const { schedule, random, openSocket, now } = this.#components;
    this.#stream = new EventStream({
      open: (query) => openSocket(withQuery(routes.events.path, query)),
      schedule,
      random,
      onBatch: ({ events }: EventBatch) => {
        this.heardMs = now();
        for (const event of events) this.#batch.add(event);
      },
      onReset: () => void this.#readAgain(),
      onState: (state) => {
        this.link.set(state);
        // A WebSocket does not say why it was refused; a request does.
        if (state === 'waiting') void this.#probe();
      },
    });
    this.#stream.startAfter(status.sequence, status.run);
    this.#stream.connect();
  }

  #deliver(events: readonly DaemonEvent[], dropped: number): void {
    this.dispatch({ type: 'events', events, atMs: this.#components.now() });
    if (dropped > 0) void this.#readAgain();
    const media = events.filter(
      (event): event is MediaChange => event.type === 'media' || event.type === 'media-removed',
    );
    if (media.length > 0) for (const listener of this.#mediaListeners) listener(media);
  }

  async #readAgain(): Promise<void> {
    this.#batch.clear();
    try {
      const status = await this.api.call<DaemonStatus>('status');
      this.dispatch({ type: 'status', status });
      this.generation.set(this.generation.get() + 1);
    } catch {
      // The stream is lost as well then, and its next connect begins anew.
    }
  }

  async #probe(): Promise<void> {
    await this.api.call('status').catch(() => undefined);
  }

  #signedOut(message: string | undefined): void {
    this.close();
    this.state.set({ type: 'signed-out', message });
  }
}

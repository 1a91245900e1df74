import type { EventBatch } from '../../api/events.ts';

/** What of a WebSocket is used. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  close(): void;
}

export type StreamState = 'connecting' | 'open' | 'waiting' | 'closed';

export interface EventStreamComponents {
  /** Opens a WebSocket; `query` continues where the last one ended. */
  open(query: { after?: number; run?: string }): Socket;
  /** Calls back after a time, ms; returns what cancels it. */
  schedule(callback: () => void, delayMs: number): () => void;
  /** 0 to 1. */
  random(): number;
  onBatch(batch: EventBatch): void;
  /** Everything has to be read again: events were missed, or the daemon was restarted. */
  onReset(): void;
  onState(state: StreamState): void;
}

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** A connection that lasted this long was a good one: the next delay is the first again. */
const GOOD_AFTER_MS = 5_000;

/**
 * The daemon's events, over a WebSocket that is opened again when it ends: after 0.5 s, then twice as long each time, at
 * most 15 s, with jitter. The page is on its own here, as it may depend on nothing but the HTTP API.
 */
export class EventStream {
  readonly #components: EventStreamComponents;
  #socket: Socket | undefined;
  #cancelTimer: (() => void) | undefined;
  #cancelGood: (() => void) | undefined;
  #failures = 0;
  #sequence: number | undefined;
  #run: string | undefined;
  #closed = false;

  constructor(components: EventStreamComponents) {
    this.#components = components;
  }

  /** Says which events the page has already, as a status answer includes them. */
  startAfter(sequence: number, run: string): void {
    this.#sequence = sequence;
    this.#run = run;
  }

  /** Connects now, also in the middle of a pause. */
  connect(): void {
    if (this.#closed || this.#socket !== undefined) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#components.onState('connecting');
    const query =
      this.#sequence === undefined || this.#run === undefined ? {} : { after: this.#sequence, run: this.#run };
    const socket = this.#components.open(query);
    this.#socket = socket;
    socket.onopen = () => {
      this.#cancelGood = this.#components.schedule(() => {
        this.#failures = 0;
      }, GOOD_AFTER_MS);
      this.#components.onState('open');
    };
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = () => this.#lost(socket);
  }

  /** Ends it for good. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelGood?.();
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket !== undefined) {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
    this.#components.onState('closed');
  }

  #take(data: unknown): void {
    const batch = parseBatch(data);
    if (batch === undefined) return;
    const restarted = this.#run !== undefined && this.#run !== batch.run;
    this.#run = batch.run;
    this.#sequence = batch.sequence;
    if (batch.reset || restarted) this.#components.onReset();
    if (batch.events.length > 0) this.#components.onBatch(batch);
  }

  #lost(socket: Socket): void {
    if (this.#socket !== socket || this.#closed) return;
    this.#socket = undefined;
    this.#cancelGood?.();
    this.#cancelGood = undefined;
    const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 10);
    this.#components.onState('waiting');
    this.#cancelTimer = this.#components.schedule(
      () => {
        this.#cancelTimer = undefined;
        this.connect();
      },
      delayMs * (0.75 + 0.5 * this.#components.random()),
    );
  }
}

function parseBatch(data: unknown): EventBatch | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const batch = JSON.parse(data) as EventBatch;
    return batch.version === 1 && Array.isArray(batch.events) ? batch : undefined;
  } catch {
    return undefined;
  }
}

import { Mutex } from '@towpath/core';
import type { PartyId, PeerId } from '@towpath/membership';
import type { ServerMessage } from '../wire/messages.ts';

/** Connection of a session to its node. */
export interface SessionSink {
  /** Sends a text; false when the node reads too slowly and must be dropped. */
  send(text: string): boolean;
  /** Resolves when the node has taken in most of what was sent, or is gone. */
  drained(): Promise<void>;
  close(reason: 'replaced' | 'too-slow' | 'shutting-down'): void;
}

/** State of one session in one party. */
export interface Following {
  readonly peer: PeerId;
  /** The next statement to send. */
  next: number;
  /** Statements are being read for it; what is pushed meanwhile is read, too. */
  reading: Promise<void> | undefined;
  readAgain: boolean;
  /** The newest announcement, where there were too many to pass each on at once. */
  announcement: string | undefined;
}

/** One connected node. Small, because a server has ten thousand. */
export class Session {
  readonly key: Uint8Array;
  readonly keyText: string;
  /** The source whose rate limit its messages count for: an address, or a part of one. */
  readonly source: string;
  readonly parties: Map<PartyId, Following> = new Map();
  /** Pages of logs are sent one at a time, so that a node can make a server queue one at the most. */
  readonly pages: Mutex = new Mutex();
  readonly #sink: SessionSink;
  closed = false;

  constructor(key: Uint8Array, keyText: string, source: string, sink: SessionSink) {
    this.key = key;
    this.keyText = keyText;
    this.source = source;
    this.#sink = sink;
  }

  send(message: ServerMessage): void {
    this.sendText(JSON.stringify(message));
  }

  /** For messages to many sessions: serialised once. */
  sendText(text: string): void {
    if (!this.closed && !this.#sink.send(text)) this.#sink.close('too-slow');
  }

  drained(): Promise<void> {
    return this.#sink.drained();
  }

  close(reason: 'replaced' | 'shutting-down'): void {
    this.#sink.close(reason);
  }
}

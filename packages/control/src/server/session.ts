import type { PartyId, PeerId } from '../identity/keys.ts';
import type { ServerMessage } from '../wire/messages.ts';

/** How a session reaches its node. */
export interface SessionSink {
  /** Sends a text; false when the node takes in too slowly and has to be dropped. */
  send(text: string): boolean;
  close(reason: 'replaced' | 'too-slow' | 'shutting-down'): void;
}

/** Where one session stands with one party. */
export interface Following {
  readonly peer: PeerId;
  /** The statement that is sent next. */
  next: number;
  /** Statements are being read for it; what is pushed meanwhile is read, too. */
  reading: boolean;
  readAgain: boolean;
}

/** One connected node. Kept small: a server has ten thousand. */
export class Session {
  readonly key: Uint8Array;
  readonly keyText: string;
  readonly parties: Map<PartyId, Following> = new Map();
  readonly #sink: SessionSink;
  closed = false;

  constructor(key: Uint8Array, keyText: string, sink: SessionSink) {
    this.key = key;
    this.keyText = keyText;
    this.#sink = sink;
  }

  send(message: ServerMessage): void {
    this.sendText(JSON.stringify(message));
  }

  /** For what many sessions get: turned into text once. */
  sendText(text: string): void {
    if (!this.closed && !this.#sink.send(text)) this.#sink.close('too-slow');
  }

  close(reason: 'replaced' | 'shutting-down'): void {
    this.#sink.close(reason);
  }
}

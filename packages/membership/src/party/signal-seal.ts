import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import type { Random } from '@towpath/core';
import { ByteReader, ByteWriter } from '../encoding/bytes.ts';
import { agree, type PartyId, type PeerId, type WireGuardKey } from '../identity/keys.ts';
import type { LogHead } from './party-state.ts';
import { HASH_BYTES } from './statement.ts';

/** An encrypted message between two members through the control plane. */
export interface SealedSignal {
  /** The sender's clock, ms since 1970. */
  readonly timeMs: number;
  readonly head: LogHead;
  readonly data: Uint8Array;
}

/** Room for several times the candidates of a node. */
export const MAX_SIGNAL_DATA_BYTES = 8_192;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 6 + 4 + HASH_BYTES;
/** The longest signal on the wire. */
export const MAX_SIGNAL_BYTES: number = NONCE_BYTES + HEADER_BYTES + MAX_SIGNAL_DATA_BYTES + TAG_BYTES;
/** A signal is accepted within this difference to its time. */
const SIGNAL_WINDOW_MS = 60_000;
/** Most stored nonces per peer; beyond it signals of that peer are dropped. */
const MAX_NONCES = 8_192;

/**
 * The encrypted channel between this node and one other member: AES-256-GCM with keys derived from both WireGuard
 * keys (X25519, HKDF-SHA-256), one for each direction. Each message is accepted once.
 */
export class SignalChannel {
  readonly #sendKey: Uint8Array;
  readonly #receiveKey: Uint8Array;
  readonly #seen = new Map<string, number>();

  private constructor(sendKey: Uint8Array, receiveKey: Uint8Array) {
    this.#sendKey = sendKey;
    this.#receiveKey = receiveKey;
  }

  /** Undefined when the other's WireGuard key is invalid. */
  static between(options: {
    party: PartyId;
    self: PeerId;
    peer: PeerId;
    own: WireGuardKey;
    theirs: Uint8Array;
  }): SignalChannel | undefined {
    const shared = agree(options.own, options.theirs);
    if (shared === undefined) return undefined;
    const key = (from: PeerId, to: PeerId) =>
      new Uint8Array(
        hkdfSync('sha256', shared, new Uint8Array(0), `towpath signal v1 ${options.party} ${from} ${to}`, 32),
      );
    return new SignalChannel(key(options.self, options.peer), key(options.peer, options.self));
  }

  seal(signal: SealedSignal, random: Random): Uint8Array {
    const nonce = random.bytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#sendKey, nonce);
    const { timeMs, head, data } = signal;
    const plain = new ByteWriter().u48(timeMs).u32(head.sequence).raw(head.hash).raw(data).done();
    const sealed = cipher.update(plain);
    cipher.final();
    return new ByteWriter().raw(nonce).raw(sealed).raw(cipher.getAuthTag()).done();
  }

  /**
   * Decrypts a signal; undefined when it is malformed, forged, replayed, or older than a minute.
   * @param notBeforeMs refuse older ones too: since when nonces are remembered, for a program that was restarted.
   */
  open(bytes: Uint8Array, nowMs: number, notBeforeMs: number = Number.NEGATIVE_INFINITY): SealedSignal | undefined {
    if (bytes.length < NONCE_BYTES + HEADER_BYTES + TAG_BYTES || bytes.length > MAX_SIGNAL_BYTES) return undefined;
    const nonce = bytes.subarray(0, NONCE_BYTES);
    const plain = this.#decrypt(nonce, bytes);
    if (plain === undefined) return undefined;
    const reader = new ByteReader(plain);
    const timeMs = reader.u48();
    const head = { sequence: reader.u32(), hash: reader.raw(HASH_BYTES) };
    const data = reader.raw(reader.left);
    if (timeMs < notBeforeMs) return undefined;
    if (Math.abs(timeMs - nowMs) > SIGNAL_WINDOW_MS || !this.#firstTime(nonce, timeMs, nowMs)) return undefined;
    return { timeMs, head, data };
  }

  #decrypt(nonce: Uint8Array, bytes: Uint8Array): Uint8Array | undefined {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#receiveKey, nonce, { authTagLength: TAG_BYTES });
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const plain = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      decipher.final();
      return new Uint8Array(plain);
    } catch {
      // A wrong tag throws.
      return undefined;
    }
  }

  #firstTime(nonce: Uint8Array, timeMs: number, nowMs: number): boolean {
    const key = Buffer.from(nonce).toString('latin1');
    if (this.#seen.has(key)) return false;
    if (this.#seen.size >= MAX_NONCES) {
      for (const [each, until] of this.#seen) if (until < nowMs) this.#seen.delete(each);
      if (this.#seen.size >= MAX_NONCES) return false;
    }
    this.#seen.set(key, timeMs + SIGNAL_WINDOW_MS);
    return true;
  }
}

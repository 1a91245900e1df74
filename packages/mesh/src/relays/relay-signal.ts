import { ByteReader, ByteWriter } from '@towpath/membership';
import { addressToBytes, bytesToAddress, type Endpoint, isPort } from '@towpath/net';
import type { RelayKey } from './relay-key.ts';

/** What one member has measured of one relay. */
export interface RelayFigure {
  readonly key: RelayKey;
  /** Round trip between the member and the relay, ms, in tenths. */
  readonly rttMs: number;
  /** The member's relayed address there; undefined when it has none. */
  readonly relayed: Endpoint | undefined;
}

/** docs/protocol/mesh.md, "Relay figures". */
export interface FiguresSignal {
  readonly type: 'figures';
  /** Chosen at random when the sender began; a new one says that its sequence begins anew. */
  readonly session: number;
  /** Grows with each signal: an older one is ignored. */
  readonly sequence: number;
  readonly wantsAnswer: boolean;
  /** The sender has left what was agreed, because a path died. */
  readonly isUnsettled: boolean;
  readonly figures: readonly RelayFigure[];
}

/** docs/protocol/mesh.md, "Relay choice". */
export interface ChoiceSignal {
  readonly type: 'offer' | 'confirm' | 'use';
  readonly session: number;
  /** Of the offer; grows with each. */
  readonly number: number;
  readonly first: RelayKey;
  readonly second: RelayKey | undefined;
}

export type RelaySignal = FiguresSignal | ChoiceSignal;

/** Operators' relays and members' relays that a member measures at most; what more is told is refused as a whole. */
export const MAX_FIGURES = 32;
/** A relay that is further away is of no use. */
export const MAX_FIGURE_MS = 5_000;
const FIGURES_KIND = 3;
const CHOICE_KIND = 4;
const VERSION = 1;
/** First two bytes of such signals. */
export const RELAY_SIGNALS: readonly { readonly kind: number; readonly version: number }[] = [
  { kind: FIGURES_KIND, version: VERSION },
  { kind: CHOICE_KIND, version: VERSION },
];
const KEY_BYTES = 8;
const TYPES: readonly ChoiceSignal['type'][] = ['offer', 'confirm', 'use'];
const NO_KEY = '0'.repeat(2 * KEY_BYTES);

export function encodeRelaySignal(signal: RelaySignal): Uint8Array {
  const out = new ByteWriter();
  if (signal.type === 'figures') {
    const figures = signal.figures.slice(0, MAX_FIGURES);
    out.u8(FIGURES_KIND).u8(VERSION).u32(signal.session).u32(signal.sequence);
    out.u8((signal.wantsAnswer ? 1 : 0) | (signal.isUnsettled ? 2 : 0)).u8(figures.length);
    for (const { key, rttMs, relayed } of figures) {
      const address = (relayed && addressToBytes(relayed.address)) ?? new Uint8Array(0);
      out.raw(Buffer.from(key, 'hex')).u16(tenths(rttMs)).u8(address.length).raw(address);
      if (relayed !== undefined && address.length > 0) out.u16(relayed.port);
    }
    return out.done();
  }
  const { type, session, number, first, second } = signal;
  out.u8(CHOICE_KIND).u8(VERSION).u8(TYPES.indexOf(type)).u32(session).u32(number);
  return out
    .raw(Buffer.from(first, 'hex'))
    .raw(Buffer.from(second ?? NO_KEY, 'hex'))
    .done();
}

/** Reads a signal; undefined when it is none, or when one of its values cannot be. Never throws. */
export function decodeRelaySignal(bytes: Uint8Array): RelaySignal | undefined {
  const reader = new ByteReader(bytes);
  const kind = reader.u8();
  if ((kind !== FIGURES_KIND && kind !== CHOICE_KIND) || reader.u8() !== VERSION) return undefined;
  const signal = kind === FIGURES_KIND ? readFigures(reader) : readChoice(reader);
  return reader.failed || reader.left > 0 ? undefined : signal;
}

function readFigures(reader: ByteReader): FiguresSignal | undefined {
  const session = reader.u32();
  const sequence = reader.u32();
  const flags = reader.u8();
  const count = reader.u8();
  if (count > MAX_FIGURES) return undefined;
  const figures: RelayFigure[] = [];
  const seen = new Set<RelayKey>();
  for (let at = 0; at < count; at++) {
    const key = readKey(reader);
    const rttMs = reader.u16() / 10;
    const length = reader.u8();
    if (length !== 0 && length !== 4 && length !== 16) return undefined;
    const address = length === 0 ? undefined : bytesToAddress(reader.raw(length));
    const port = length === 0 ? 0 : reader.u16();
    if (key === undefined || seen.has(key) || rttMs <= 0 || rttMs > MAX_FIGURE_MS) return undefined;
    if (length > 0 && !isPort(port)) return undefined;
    seen.add(key);
    figures.push({ key, rttMs, relayed: address === undefined ? undefined : { address, port } });
  }
  const isUnsettled = (flags & 2) === 2;
  return { type: 'figures', session, sequence, wantsAnswer: (flags & 1) === 1, isUnsettled, figures };
}

function readChoice(reader: ByteReader): ChoiceSignal | undefined {
  const type = TYPES[reader.u8()];
  const session = reader.u32();
  const number = reader.u32();
  const first = readKey(reader);
  const second = readKey(reader);
  if (type === undefined || first === undefined || first === second) return undefined;
  return { type, session, number, first, second };
}

function readKey(reader: ByteReader): RelayKey | undefined {
  const key = Buffer.from(reader.raw(KEY_BYTES)).toString('hex');
  return key === NO_KEY ? undefined : key;
}

/** Members compare what they told each other, so both must have the same number. */
export function roundFigure(rttMs: number): number {
  return tenths(rttMs) / 10;
}

function tenths(rttMs: number): number {
  return Math.min(MAX_FIGURE_MS * 10, Math.max(1, Math.round(rttMs * 10)));
}

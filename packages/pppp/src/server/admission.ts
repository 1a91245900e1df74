import { nextIdleAt, type Rate } from '@towpath/core';
import { KeyedLimit, SharedLimit } from './rate-limit.ts';
import { RecentMap } from './recent-map.ts';

/**
 * Limits of what a source may send to a server, and of what is sent back.
 *
 * Against reflection, **servers never send an unverified address more bytes than they received from it.** Received
 * bytes are the credit of a source; every datagram sent there is taken from it, and is not sent when the credit is too
 * small. An invitation to a device is taken from the credit of the device's logins, or else of the client that asked
 * for it: a forged login leads no more bytes to its address than others have sent. So a forged source gains nothing, and no cookie is needed, which other implementations could not return. A
 * client that wants its answer at once pads its requests: bytes after the known fields are ignored everywhere in PPPP.
 *
 * Two exceptions. Empty requests whose answer is longer (HELLO, RLY_PORT, LIST_REQ) are answered on a small
 * budget per source, address, /24 and in all, unless there is credit. A verified source
 * (a TCP connection, a device with the right secret) needs no credit.
 *
 * Against floods, every source has its own rate, and first packets of new sources are limited per address and per
 * /24; one over the limit is dropped but stored, so that its retransmission is accepted. More than `crowd` datagrams
 * per second in total are a crowd. Earlier sources are then served as before; of all others only those are served that
 * retransmit soon, as clients do, and up to that rate. Dropping a datagram is much cheaper than answering it.
 */
export interface AdmissionLimits {
  /** Datagrams of one address and port. @default 50/s, 100 at once */
  source: Rate;
  /** First datagrams of new sources of one address. @default 200/s, 400 at once */
  newPerAddress: Rate;
  /** First datagrams of new sources of one /24. @default 2000/s, 4000 at once */
  newPerSubnet: Rate;
  /** Datagrams of all sources together; in a crowd, repetitions of the sources that belong to it. @default 5000/s, 2000 at once */
  crowd: Rate;
  /** Unpaid answers to one address and port. @default 2/s, 6 at once */
  unpaidPerSource: Rate;
  /** Unpaid answers to one address. @default 20/s, 60 at once */
  unpaidPerAddress: Rate;
  /** Unpaid answers to one /24. @default 100/s, 300 at once */
  unpaidPerSubnet: Rate;
  /** Unpaid answers in all. @default 20000/s, 20000 at once */
  unpaidTotal: Rate;
  /** How many sources are remembered, twice over. @default 65536 */
  sources: number;
}

export const DEFAULT_ADMISSION_LIMITS: AdmissionLimits = {
  source: { perSecond: 50, burst: 100 },
  newPerAddress: { perSecond: 200, burst: 400 },
  newPerSubnet: { perSecond: 2000, burst: 4000 },
  // A tenth of what a Node process answers, because it may have to share its processor with what sends the crowd's
  // datagrams.
  crowd: { perSecond: 5_000, burst: 2_000 },
  // A device says HELLO three times when it starts.
  unpaidPerSource: { perSecond: 2, burst: 6 },
  unpaidPerAddress: { perSecond: 20, burst: 60 },
  unpaidPerSubnet: { perSecond: 100, burst: 300 },
  unpaidTotal: { perSecond: 20_000, burst: 20_000 },
  sources: 65_536,
};

/** The most credit that a source can save up: five minutes of logins and then some. */
const MAX_CREDIT_BYTES = 4096;

/** A source that is remembered this long has repeated itself at leisure, as a client does and a flood does not. */
const KNOWN_AFTER_MS = 500;

/** A datagram that follows the last one of its source so soon is a repetition: clients repeat at least every second. */
const REPETITION_MS = 1_200;

/** Sources that appeared this shortly before a crowd was noticed belong to it, ms. */
const GATHERING_MS = 3_000;

/** A crowd is over when its rate was not reached for so long. */
const CROWD_OVER_MS = 2_000;

/** A client's last LIST_REQ_DSK. */
export interface ShownSecret {
  readonly uid: string;
  readonly fits: boolean;
  readonly atMs: number;
}

/** What is remembered of one address and port. */
export interface Source {
  readonly firstSeenMs: number;
  lastSeenMs: number;
  /** Bytes that may still be sent there. */
  creditBytes: number;
  /** It has proved that it receives: credit does not matter. */
  verified: boolean;
  /** State of its rate limit. */
  idleAtMs: number;
  /** State of its limit on unpaid answers. */
  unpaidIdleAtMs: number;
  /** The device that logged in from there, at a rendezvous. */
  uid: string | undefined;
  /** What this client has shown of a device's secret, at a rendezvous. */
  secret: ShownSecret | undefined;
}

/** Counters; a snapshot. */
export interface AdmissionCounters {
  /** Datagrams over a rate limit. */
  limited: number;
  /** Datagrams of sources that belong to a crowd, over its rate. */
  crowdedOut: number;
  /** Answers sent on the small budget. */
  unpaidAnswers: number;
  /** Datagrams not sent because nothing paid for them. */
  unaffordable: number;
}

/** Makes a source for a carrier that proves itself, such as a TCP connection. */
export function verifiedSource(nowMs: number): Source {
  return { ...newSource(nowMs, 0), verified: true };
}

function newSource(nowMs: number, creditBytes: number): Source {
  return {
    firstSeenMs: nowMs,
    lastSeenMs: nowMs,
    creditBytes,
    verified: false,
    idleAtMs: nowMs,
    unpaidIdleAtMs: 0,
    uid: undefined,
    secret: undefined,
  };
}

/** True when the source has been there long enough to be more than one packet of a flood. */
export function isKnown(source: Source, nowMs: number): boolean {
  return source.verified || nowMs - source.firstSeenMs >= KNOWN_AFTER_MS;
}

export class Admission {
  readonly counters: AdmissionCounters = { limited: 0, crowdedOut: 0, unpaidAnswers: 0, unaffordable: 0 };
  readonly #limits: AdmissionLimits;
  readonly #sources: RecentMap<number, Source>;
  readonly #newPerAddress: KeyedLimit;
  readonly #newPerSubnet: KeyedLimit;
  readonly #all: SharedLimit;
  readonly #repetitions: SharedLimit;
  /** Since when there is a crowd. */
  #crowdedSinceMs: number | undefined;
  /** When there was last more than its rate. */
  #crowdedAtMs = 0;
  readonly #unpaidPerAddress: KeyedLimit;
  readonly #unpaidPerSubnet: KeyedLimit;
  readonly #unpaidTotal: SharedLimit;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#sources = new RecentMap(limits.sources);
    this.#newPerAddress = new KeyedLimit(limits.newPerAddress, limits.sources);
    this.#newPerSubnet = new KeyedLimit(limits.newPerSubnet, limits.sources);
    this.#all = new SharedLimit(limits.crowd);
    this.#repetitions = new SharedLimit(limits.crowd);
    this.#unpaidPerAddress = new KeyedLimit(limits.unpaidPerAddress, limits.sources);
    this.#unpaidPerSubnet = new KeyedLimit(limits.unpaidPerSubnet, limits.sources);
    this.#unpaidTotal = new SharedLimit(limits.unpaidTotal);
  }

  /** How many sources are remembered at the moment. */
  get sources(): number {
    return this.#sources.size;
  }

  /** Credits a datagram to its source; undefined when it is over a limit and must be ignored. */
  admit(ip: number, port: number, bytes: number, nowMs: number): Source | undefined {
    const key = ip * 0x10000 + port;
    const known = this.#sources.get(key);
    if (known === undefined) return this.#admitNew(key, ip, bytes, nowMs);
    const silentMs = nowMs - known.lastSeenMs;
    known.lastSeenMs = nowMs;
    if (!this.admitFrom(known, nowMs) || !this.#hasRoom(known, silentMs <= REPETITION_MS, nowMs)) return undefined;
    known.creditBytes = Math.min(MAX_CREDIT_BYTES, known.creditBytes + bytes);
    return known;
  }

  /** Applies the rate of one source, for carriers that keep theirs themselves. */
  admitFrom(source: Source, nowMs: number): boolean {
    const idleAt = nextIdleAt(this.#limits.source, source.idleAtMs, nowMs, 1);
    if (idleAt < 0) {
      this.counters.limited++;
      return false;
    }
    source.idleAtMs = idleAt;
    return true;
  }

  /** True for known sources that did not appear with a crowd that still lasts. */
  isRegular(source: Source, nowMs: number): boolean {
    const sinceMs = this.#crowdedSinceMs;
    if (source.verified || sinceMs === undefined) return isKnown(source, nowMs);
    return source.firstSeenMs < sinceMs - GATHERING_MS;
  }

  /** Whether {@link charge} would succeed. */
  canPay(source: Source, bytes: number): boolean {
    return source.verified || source.creditBytes >= bytes;
  }

  /** Takes `bytes` from the source's credit. False: do not send them. */
  charge(source: Source, bytes: number): boolean {
    if (source.verified) return true;
    if (source.creditBytes < bytes) {
      this.counters.unaffordable++;
      return false;
    }
    source.creditBytes -= bytes;
    return true;
  }

  /** As {@link charge}, but falls back on the small budget: only for answers that are longer by nature. */
  chargeOrGrant(source: Source, ip: number, bytes: number, nowMs: number): boolean {
    if (this.canPay(source, bytes)) return this.charge(source, bytes);
    const idleAt = nextIdleAt(this.#limits.unpaidPerSource, source.unpaidIdleAtMs, nowMs, 1);
    const granted =
      idleAt >= 0 &&
      this.#unpaidPerAddress.take(ip, nowMs) &&
      this.#unpaidPerSubnet.take(subnet(ip), nowMs) &&
      this.#unpaidTotal.take(nowMs);
    if (!granted) {
      this.counters.unaffordable++;
      return false;
    }
    source.unpaidIdleAtMs = idleAt;
    this.counters.unpaidAnswers++;
    return true;
  }

  clear(): void {
    this.#sources.clear();
    for (const limit of [this.#newPerAddress, this.#newPerSubnet, this.#unpaidPerAddress, this.#unpaidPerSubnet]) {
      limit.clear();
    }
  }

  #admitNew(key: number, ip: number, bytes: number, nowMs: number): Source | undefined {
    const source = newSource(nowMs, bytes);
    this.#sources.set(key, source);
    if (this.#newPerAddress.take(ip, nowMs) && this.#newPerSubnet.take(subnet(ip), nowMs)) {
      return this.#hasRoom(source, false, nowMs) ? source : undefined;
    }
    this.counters.limited++;
    return undefined;
  }

  /** Whether there is room for one more datagram of a source. */
  #hasRoom(source: Source, isRepetition: boolean, nowMs: number): boolean {
    const sinceMs = this.#crowdedSinceMs;
    if (sinceMs !== undefined && this.isRegular(source, nowMs)) return true;
    if (!this.#all.take(nowMs)) {
      this.#crowdedSinceMs ??= nowMs;
      this.#crowdedAtMs = nowMs;
    } else if (sinceMs === undefined || nowMs - this.#crowdedAtMs > CROWD_OVER_MS) {
      this.#crowdedSinceMs = undefined;
      return true;
    }
    if (isRepetition && this.#repetitions.take(nowMs)) return true;
    this.counters.crowdedOut++;
    return false;
  }
}

function subnet(ip: number): number {
  return ip >>> 8;
}

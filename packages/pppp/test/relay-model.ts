import { formatEndpoint, type Endpoint } from '@towpath/net';
import { expect } from 'vitest';

/** Limits that the modelled relay is opened with. */
export const MODEL_LIMITS = { sessions: 10, sessionsPerClient: 3, clientBytesPerDay: 150_000 } as const;
export const DAY_MS = 86_400_000;
export const MAX_BYTES = 1_472;
const HEADER_BYTES = 28;
const RESERVATION_MS = 30_000;
const IDLE_MS = 30_000;
const CLOSING_MS = 3_000;
const STALE_MS = 3_000;
const QUIET_MS = 2_000;
const UNPROVEN_BYTES = 65_536;
/** What the kernel forwarded is known to the server after so long. */
const KNOWN_AFTER_MS = 2_200;
/** So much later the server has looked at a session in the kernel, and again when it found it idle. */
const KERNEL_IDLE_MS = 17_000;

export type SideName = 'client' | 'device';

export interface Reservation {
  readonly magic: number;
  readonly port: Endpoint;
  readonly account: Account;
  readonly untilMs: number;
  /** It is forgotten after two intervals in which nobody used it. */
  unusedIntervals: number;
}

/** What one client has used. */
export interface Account {
  readonly ip: string;
  sessions: number;
  /** Bytes of its day, as they passed. */
  bytes: number;
  dayStartMs: number;
  /** By the kernel, which the server may not know yet. */
  recent: { atMs: number; bytes: number }[];
  /** What the server may count less, or more, than passed: counters that were lost, and those of the last day. */
  lost: number;
  carried: number;
}

export interface Side {
  readonly at: Endpoint;
  proven: boolean;
  allowance: number;
}

export interface Session extends Reservation {
  readonly uid: string;
  client: Side | undefined;
  device: Side | undefined;
  /** Last activity that the server has seen itself. */
  seenMs: number;
  /** Last datagram that the kernel forwarded, as far as the server must hear of it. */
  kernelMs: number;
  /** The same; it may not have heard of it. */
  perhapsMs: number;
  /** The kernel has forwarded after it was silent for so long that it may end. */
  late: boolean;
  controlMs: number;
  closing: boolean;
  placed: { dayStartMs: number } | undefined;
  bytes: number;
  lost: number;
}

export interface Introduction {
  readonly from: Endpoint;
  readonly port: Endpoint;
  readonly magic: number;
  readonly uid: string;
  readonly side: SideName;
}

/** What a RLY_PKT led to. */
export interface Outcome {
  conflicts: number;
  wrong: number;
  opened: number;
  answers: string[];
}

/**
 * A PPPP relay by its rules (docs/protocol/pppp.md, "Connecting through a relay"; docs/operations.md, "Relayed data in the
 * kernel"), whose traffic is told to it. Where the server cannot know yet what the kernel has forwarded, both are right.
 */
export class RelayModel {
  readonly reservations: Map<number, Reservation> = new Map();
  readonly sessions: Map<number, Session> = new Map();
  readonly accounts: Map<string, Account> = new Map();
  readonly ended: Map<string, Session> = new Map();
  readonly seen = { closed: 0, idle: 0, spent: 0, neverReady: 0, newDays: 0, replaced: 0, kernel: 0, user: 0 };
  readonly #attached = new Map<string, { session: Session; side: SideName }>();
  readonly #inKernel: boolean;
  #agedMs = 0;

  constructor(inKernel: boolean) {
    this.#inKernel = inKernel;
  }

  account(ip: string, now: number): Account {
    return this.accounts.get(ip) ?? { ip, sessions: 0, bytes: 0, dayStartMs: now, recent: [], lost: 0, carried: 0 };
  }

  /** Whether a client may have one more session; undefined: that depends on what the server knows already. */
  mayOpen(account: Account, now: number): boolean | undefined {
    if (this.sessions.size >= MODEL_LIMITS.sessions || account.sessions >= MODEL_LIMITS.sessionsPerClient) return false;
    const spent = isSpent(account, now);
    return spent === undefined ? undefined : !spent;
  }

  reserve(magic: number, port: Endpoint, ip: string, now: number): Reservation {
    expect([this.reservations.has(magic), this.sessions.has(magic)]).toEqual([false, false]);
    const reservation = {
      magic,
      port,
      account: this.account(ip, now),
      untilMs: now + RESERVATION_MS,
      unusedIntervals: 0,
    };
    this.reservations.set(magic, reservation);
    return reservation;
  }

  /** @param opened what was seen, for when the model cannot know */
  introduce({ from, port, magic, uid, side }: Introduction, opened: boolean, now: number): Outcome {
    const outcome: Outcome = { conflicts: 0, wrong: 0, opened: 0, answers: [] };
    const reservation = this.sessions.get(magic) ?? this.reservations.get(magic);
    if (reservation !== undefined) reservation.unusedIntervals = 0;
    if (reservation?.port.port !== port.port) return { ...outcome, wrong: 1 };
    const known = this.#attached.get(pairKey(from, port))?.session;
    if (known !== undefined && known.magic !== magic) {
      if (known.placed !== undefined) {
        leaveKernel(known, now);
        known.controlMs = now;
        known.seenMs = now;
      }
      if (!known.closing && now - known.seenMs < STALE_MS) return { ...outcome, conflicts: 1 };
      this.seen.replaced++;
      this.#end(known);
    }
    const session = this.sessions.get(magic) ?? this.#claim(reservation, uid, opened, now);
    if (session === undefined) return { ...outcome, wrong: 1 };
    if (session !== reservation) outcome.opened = 1;
    if (session.uid !== uid) return { ...outcome, wrong: 1 };
    session.controlMs = now;
    const there = session[side];
    if (there !== undefined) {
      if (formatEndpoint(there.at) !== formatEndpoint(from)) outcome.wrong = 1;
      else if (isReady(session)) outcome.answers.push(answer('RLY_RDY', from));
      return outcome;
    }
    if (session.closing) {
      outcome.answers.push(answer('CLOSE', from));
      return outcome;
    }
    const proven = side === 'client' && from.address === session.account.ip;
    session[side] = { at: from, proven, allowance: UNPROVEN_BYTES };
    session.seenMs = now;
    this.#attached.set(pairKey(from, port), { session, side });
    if (isReady(session)) {
      outcome.answers.push(answer('RLY_RDY', session.client!.at), answer('RLY_RDY', session.device!.at));
    }
    return outcome;
  }

  /** Where a datagram may go. */
  target(from: Endpoint, port: Endpoint): Endpoint | undefined {
    const found = this.#attached.get(pairKey(from, port));
    if (found === undefined || !isReady(found.session)) return undefined;
    return found.session[found.side === 'client' ? 'device' : 'client']!.at;
  }

  /** Tells a datagram, and who forwarded it; `user` for none. Throws when it went where it may not, or did not go where it may. */
  datagram(
    { from, to, bytes, isClose }: { from: Endpoint; to: Endpoint; bytes: number; isClose: boolean },
    { by, left }: { by: 'kernel' | 'user'; left: readonly string[] },
    now: number,
  ): void {
    const found = this.#attached.get(pairKey(from, to));
    const target = this.target(from, to);
    const where = `${pairKey(from, to)} by the ${by} at ${now}`;
    if (found === undefined || target === undefined) {
      expect(left, where).toEqual([]);
      expect(by, where).toBe('user');
      if (found === undefined || found.session.closing || !isClose) return;
      found.session.closing = true;
      found.session.seenMs = now;
      return;
    }
    const { session, side } = found;
    const other = session[side === 'client' ? 'device' : 'client']!;
    if (by === 'kernel') {
      expect(session.placed, where).toBeDefined();
      expect([bytes <= MAX_BYTES, isClose, other.proven, session[side]!.proven], where).toEqual([
        true,
        false,
        true,
        true,
      ]);
    } else {
      const isTooLarge = bytes > MAX_BYTES;
      if (!isTooLarge) session[side]!.proven = true;
      if (isTooLarge || (!other.proven && other.allowance < bytes)) {
        expect(left, where).toEqual([]);
        return;
      }
      if (!other.proven) other.allowance -= bytes;
    }
    const { account } = session;
    const spent = isSpent(account, now);
    if (spent === false || left.length > 0) expect(left, where).toEqual([pairKey(to, target)]);
    if (spent === true && by === 'user') expect(left, where).toEqual([]);
    if (left.length === 0) return;
    account.bytes += bytes + HEADER_BYTES;
    session.bytes += bytes;
    this.seen[by]++;
    if (by === 'kernel') {
      account.recent.push({ atMs: now, bytes: bytes + HEADER_BYTES });
      session.late ||= now - Math.max(session.seenMs, session.kernelMs) > IDLE_MS;
      session.kernelMs = now;
      session.perhapsMs = now;
    } else {
      session.seenMs = now;
      session.late = false;
      session.closing = isClose;
    }
    expect(knownBytes(account, now), where).toBeLessThanOrEqual(
      MODEL_LIMITS.clientBytesPerDay + MAX_BYTES + HEADER_BYTES,
    );
  }

  /** The kernel has lost its counters: what the server had not read it will not hear of. */
  lose(now: number): void {
    for (const account of this.accounts.values()) {
      account.lost += recentBytes(account, now);
      account.recent = [];
    }
    for (const session of this.sessions.values()) {
      if (session.kernelMs > 0) session.lost = session.bytes;
      session.kernelMs = 0;
    }
  }

  /**
   * What the server does every second.
   * @param seen who was sent CLOSE, and from where; whether sessions have ended over their bytes of a day
   */
  sweep(seen: { closes: readonly { from: Endpoint; to: Endpoint }[]; overQuota: boolean }, now: number): void {
    const told = new Set(seen.closes.map(({ from, to }) => pairKey(to, from)));
    for (const session of [...this.sessions.values()]) this.#sweepSession(session, { told, ...seen }, now);
    expect([...told], `CLOSE at ${now}`).toEqual([]);
    for (const session of this.sessions.values()) this.#move(session, now);
    this.sweepAccounts(now);
  }

  /** The part of it that concerns no session: begins new days, forgets. */
  sweepAccounts(now: number): void {
    this.#age(now);
    for (const account of this.accounts.values()) {
      if (now - account.dayStartMs >= DAY_MS) {
        account.carried = recentBytes(account, now);
        Object.assign(account, { dayStartMs: now, bytes: 0, lost: 0, recent: [] });
        if (account.sessions > 0) this.seen.newDays++;
      }
      if (account.sessions === 0 && account.bytes === 0) this.accounts.delete(account.ip);
    }
  }

  /** Whether it depends on what the server knows already whether the kernel has a session. */
  isDoubtful(session: Session, now: number): boolean {
    return this.#inKernel && isReady(session) && isSpent(session.account, now) === undefined;
  }

  /** Tells what was seen of a session of which that is so. */
  settle(session: Session, isPlaced: boolean, now: number): void {
    if (isPlaced) session.placed ??= { dayStartMs: session.account.dayStartMs };
    else if (session.placed !== undefined) leaveKernel(session, now);
  }

  #age(now: number): void {
    if (now - this.#agedMs < RESERVATION_MS) return;
    this.#agedMs = now;
    for (const [magic, reservation] of this.reservations) {
      if (++reservation.unusedIntervals === 2) this.reservations.delete(magic);
    }
  }

  #claim(reservation: Reservation, uid: string, opened: boolean, now: number): Session | undefined {
    const { magic, account: reserved } = reservation;
    if (this.sessions.size >= MODEL_LIMITS.sessions) return undefined;
    if (reservation.untilMs < now) {
      this.reservations.delete(magic);
      return undefined;
    }
    const account = this.account(reserved.ip, now);
    if (!(this.mayOpen(account, now) ?? opened)) return undefined;
    this.reservations.delete(magic);
    this.accounts.set(account.ip, account);
    account.sessions++;
    const session: Session = {
      ...reservation,
      account,
      uid,
      client: undefined,
      device: undefined,
      seenMs: now,
      kernelMs: 0,
      perhapsMs: 0,
      late: false,
      controlMs: now,
      closing: false,
      placed: undefined,
      bytes: 0,
      lost: 0,
    };
    this.sessions.set(magic, session);
    return session;
  }

  #sweepSession(session: Session, { told, overQuota }: { told: Set<string>; overQuota: boolean }, now: number): void {
    const { closing, seenMs, kernelMs, perhapsMs, late, placed, account, uid } = session;
    if (closing && now - seenMs > CLOSING_MS) {
      this.seen.closed++;
      this.#end(session);
      return;
    }
    if (!isReady(session)) {
      if (now - seenMs <= RESERVATION_MS) return;
      this.seen.neverReady++;
      this.#end(session);
      return;
    }
    const ends = new Set([session.client!.at, session.device!.at].map((at) => pairKey(at, session.port)));
    const wasTold = [...ends].filter((each) => told.delete(each)).length;
    const spent = isSpent(account, now);
    const isIdle = late || now - Math.max(seenMs, kernelMs) > IDLE_MS;
    const mustBeIdle = now - Math.max(seenMs, perhapsMs) > IDLE_MS + (placed === undefined ? 0 : KERNEL_IDLE_MS);
    const what = `${uid} at ${now}, seen at ${seenMs}, in the kernel at ${perhapsMs}, ${account.bytes} bytes`;
    if (closing) {
      // Nobody is told of its end.
      expect([wasTold, isIdle], what).toEqual([0, false]);
      if (spent ?? overQuota) this.#end(session);
      return;
    }
    if (wasTold === 0) {
      expect([spent === true, mustBeIdle], what).toEqual([false, false]);
      return;
    }
    expect([wasTold, spent !== false || isIdle], what).toEqual([ends.size, true]);
    if (spent === false) this.seen.idle++;
    else this.seen.spent++;
    this.#end(session);
  }

  #move(session: Session, now: number): void {
    const { client, device, closing, controlMs, seenMs, account, placed } = session;
    const eligible =
      this.#inKernel &&
      isReady(session) &&
      !closing &&
      client!.proven &&
      device!.proven &&
      now - controlMs >= QUIET_MS &&
      seenMs > controlMs &&
      isSpent(account, now) !== true;
    if (placed !== undefined && (!eligible || placed.dayStartMs !== account.dayStartMs)) {
      leaveKernel(session, now);
    } else if (placed === undefined && eligible) session.placed = { dayStartMs: account.dayStartMs };
  }

  #end(session: Session): void {
    this.sessions.delete(session.magic);
    session.account.sessions--;
    for (const side of [session.client, session.device]) {
      if (side !== undefined) this.#attached.delete(pairKey(side.at, session.port));
    }
    if (isReady(session)) this.ended.set(session.uid, session);
  }
}

/** Both sides of a session are at one address: the kernel cannot tell them apart. */
export function isLoop({ client, device }: Session): boolean {
  return client !== undefined && device !== undefined && formatEndpoint(client.at) === formatEndpoint(device.at);
}

function isReady({ client, device }: Session): boolean {
  return client !== undefined && device !== undefined;
}

/** It counts as active: what the kernel has forwarded since the counters were read is not known. */
function leaveKernel(session: Session, now: number): void {
  Object.assign(session, { placed: undefined, kernelMs: 0, perhapsMs: 0, late: false });
  if (!session.closing) session.seenMs = session.seenMs > session.controlMs ? now : session.controlMs;
}

function recentBytes(account: Account, now: number): number {
  account.recent = account.recent.filter(({ atMs }) => now - atMs <= KNOWN_AFTER_MS);
  return account.recent.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The least that the server knows. */
function knownBytes(account: Account, now: number): number {
  return account.bytes - recentBytes(account, now) - account.lost;
}

/** Undefined: the server may know it or not. */
function isSpent(account: Account, now: number): boolean | undefined {
  if (knownBytes(account, now) >= MODEL_LIMITS.clientBytesPerDay) return true;
  return account.bytes + account.carried >= MODEL_LIMITS.clientBytesPerDay ? undefined : false;
}

export function pairKey(from: Endpoint, to: Endpoint): string {
  return `${formatEndpoint(from)} > ${formatEndpoint(to)}`;
}

export function answer(type: string, to: Endpoint): string {
  return `${type} to ${formatEndpoint(to)}`;
}

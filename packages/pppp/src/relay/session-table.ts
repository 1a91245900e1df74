import type { Random } from '@towpath/core';
import { RecentMap } from '../server/recent-map.ts';
import type { RelayMeter } from './meter.ts';
import type { RelayCounters, RelayLimits } from './options.ts';
import { RelaySession, type SideCarrier } from './relay-session.ts';
import type { SessionPort } from './session-port.ts';

/** After a CLOSE a session lingers this long for the CLOSE of the other side and late copies. */
const CLOSING_MS = 3_000;

/** Tries to find a port on which a device has no session yet. */
const PORT_TRIES = 8;

interface Reservation {
  readonly port: SessionPort;
  readonly ip: number;
  readonly expiresMs: number;
}

/** Reservations and sessions of a relay, found by their magic. */
export class SessionTable {
  readonly #random: Random;
  readonly #limits: RelayLimits;
  readonly #meter: RelayMeter;
  readonly #counters: RelayCounters;
  readonly #reservations: RecentMap<number, Reservation>;
  readonly #sessions = new Map<number, RelaySession>();
  #agedMs = 0;

  constructor(random: Random, limits: RelayLimits, meter: RelayMeter, counters: RelayCounters) {
    this.#random = random;
    this.#limits = limits;
    this.#meter = meter;
    this.#counters = counters;
    this.#reservations = new RecentMap(limits.reservations);
  }

  get size(): number {
    return this.#sessions.size;
  }

  get pending(): number {
    return this.#reservations.size;
  }

  get full(): boolean {
    return this.#sessions.size >= this.#limits.sessions;
  }

  get(magic: number): RelaySession | undefined {
    return this.#sessions.get(magic);
  }

  /** Reserves a session for a client; undefined when it, or the relay, has enough. */
  reserve(
    ports: readonly SessionPort[],
    ip: number,
    uid: string | undefined,
    nowMs: number,
  ): { magic: number; port: SessionPort } | undefined {
    if (this.full || !this.#meter.mayOpen(ip)) {
      this.#counters.reservationsRefused++;
      return undefined;
    }
    let port = this.#somePort(ports);
    for (let i = 1; i < PORT_TRIES && uid !== undefined && port.hasDevice(uid); i++) port = this.#somePort(ports);
    const magic = this.#newMagic();
    this.#reservations.set(magic, { port, ip, expiresMs: nowMs + this.#limits.reservationMs });
    this.#counters.reservations++;
    return { magic, port };
  }

  /** The session of this magic, made of its reservation when it is the first to be heard of. */
  claim(magic: number, uid: string, nowMs: number): RelaySession | undefined {
    const session = this.#sessions.get(magic);
    if (session !== undefined) return session;
    const reservation = this.#reservations.get(magic);
    if (reservation === undefined || this.full) return undefined;
    if (reservation.expiresMs < nowMs) {
      this.#reservations.delete(magic);
      return undefined;
    }
    if (!this.#meter.mayOpen(reservation.ip)) return undefined;
    this.#reservations.delete(magic);
    const account = this.#meter.open(reservation.ip, nowMs);
    const opened = new RelaySession(
      { magic, uid, port: reservation.port, account },
      this.#meter,
      this.#counters,
      nowMs,
    );
    opened.port.open(opened);
    this.#sessions.set(magic, opened);
    this.#counters.sessionsOpened++;
    return opened;
  }

  /** The port for which a magic is valid. */
  portOf(magic: number): SessionPort | undefined {
    return this.#sessions.get(magic)?.port ?? this.#reservations.get(magic)?.port;
  }

  /** Removes a session. `tell`: both sides get a CLOSE, so that they look for another way at once. */
  end(session: RelaySession, tell: boolean): void {
    if (!this.#sessions.delete(session.magic)) return;
    session.port.close(session);
    this.#meter.close(session.account);
    for (const side of [session.client, session.device]) {
      if (side === undefined) continue;
      if (tell && session.ready) side.tell({ type: 'CLOSE' });
      release(side.carrier, session.port);
    }
  }

  sweep(nowMs: number): void {
    // Two generations of the age that a reservation may reach: an expired one is gone after twice that.
    if (nowMs - this.#agedMs >= this.#limits.reservationMs) {
      this.#agedMs = nowMs;
      this.#reservations.age();
    }
    for (const session of this.#sessions.values()) {
      const silentMs = nowMs - session.lastActiveMs;
      if (!session.ready) {
        if (silentMs <= this.#limits.reservationMs) continue;
        this.#counters.endedNeverReady++;
      } else if (this.#meter.isSpent(session.account)) {
        this.#counters.endedOverQuota++;
      } else if (session.closing && silentMs > CLOSING_MS) {
        this.#counters.endedByClose++;
      } else if (silentMs > this.#limits.idleMs) {
        this.#counters.endedIdle++;
      } else {
        continue;
      }
      this.end(session, !session.closing);
    }
  }

  clear(): void {
    for (const session of this.#sessions.values()) this.end(session, true);
    this.#reservations.clear();
  }

  #somePort(ports: readonly SessionPort[]): SessionPort {
    return ports[this.#random.integer(0, ports.length - 1)]!;
  }

  #newMagic(): number {
    for (;;) {
      const [a = 0, b = 0, c = 0, d = 0] = this.#random.bytes(4);
      const magic = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
      if (this.portOf(magic) === undefined) return magic;
    }
  }
}

function release({ endpoint, tcp }: SideCarrier, port: SessionPort): void {
  if (endpoint !== undefined) port.detach(endpoint);
  if (tcp?.state !== undefined) tcp.state.side = undefined;
}

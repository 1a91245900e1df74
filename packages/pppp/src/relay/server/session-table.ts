import type { Random } from '@towpath/core';
import { RecentMap } from '../../server/recent-map.ts';
import type { RelayMeter } from './meter.ts';
import type { RelayCounters, RelayLimits } from './options.ts';
import { type RelayPort, RelaySession, type SideCarrier } from './relay-session.ts';
import type { PortUser, SessionPort } from './session-port.ts';

/** After a CLOSE a session is kept this long for the CLOSE of the other side and late copies. */
const CLOSING_MS = 3_000;

/** Ports that are looked at to find one on which neither device nor client has a session yet. */
const MAX_PORTS_LOOKED_AT = 64;

interface Reservation {
  readonly port: SessionPort;
  readonly user: PortUser;
  readonly ip: number;
  readonly expiresMs: number;
}

/** Reservations and sessions of a relay, by magic. */
export class SessionTable {
  readonly #random: Random;
  readonly #limits: RelayLimits;
  readonly #meter: RelayMeter;
  readonly #counters: RelayCounters;
  readonly #reservations: RecentMap<number, Reservation>;
  readonly #sessions = new Map<number, RelaySession>();
  #agedMs = 0;

  readonly #onEnded: (session: RelaySession) => void;

  /** @param onEnded called with each session that is over */
  constructor(
    { random, meter, counters }: { random: Random; meter: RelayMeter; counters: RelayCounters },
    limits: RelayLimits,
    onEnded: (session: RelaySession) => void,
  ) {
    this.#random = random;
    this.#limits = limits;
    this.#meter = meter;
    this.#counters = counters;
    this.#onEnded = onEnded;
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

  all(): Iterable<RelaySession> {
    return this.#sessions.values();
  }

  get(magic: number): RelaySession | undefined {
    return this.#sessions.get(magic);
  }

  /** Reserves a session for a client; undefined when it, or the relay, has enough. */
  reserve(
    ports: readonly SessionPort[],
    ip: number,
    user: PortUser,
    nowMs: number,
  ): { magic: number; port: SessionPort } | undefined {
    // Without ports: the relay is still opening them.
    if (ports.length === 0 || this.full || !this.#meter.mayOpen(ip)) {
      this.#counters.reservationsRefused++;
      return undefined;
    }
    const port = this.#somePort(ports, user, nowMs);
    const magic = this.#newMagic();
    const expiresMs = nowMs + this.#limits.reservationMs;
    this.#reservations.set(magic, { port, user, ip, expiresMs });
    port.expect(user, expiresMs);
    this.#counters.reservations++;
    return { magic, port };
  }

  /** Returns the session of a magic, created from its reservation by the first side. */
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
    reservation.port.unexpect(reservation.user);
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
  portOf(magic: number): RelayPort | undefined {
    return this.#sessions.get(magic)?.port ?? this.#reservations.get(magic)?.port;
  }

  /** Removes a session. `tell`: sends CLOSE to both sides, so that they try another path at once. */
  end(session: RelaySession, tell: boolean): void {
    if (!this.#sessions.delete(session.magic)) return;
    session.port.close(session);
    this.#meter.close(session.account);
    for (const side of [session.client, session.device]) {
      if (side === undefined) continue;
      if (tell && session.ready) side.tell({ type: 'CLOSE' });
      release(side.carrier, session.port);
    }
    this.#onEnded(session);
  }

  /** Ends what is over. @param mayBeActive whether a silent session may have been in use where the server does not see it */
  sweep(nowMs: number, mayBeActive: (session: RelaySession) => boolean): void {
    // Two generations of the age that a reservation may reach: an expired one is gone after twice that.
    if (nowMs - this.#agedMs >= this.#limits.reservationMs) {
      this.#agedMs = nowMs;
      this.#reservations.age();
    }
    for (const session of this.#sessions.values()) {
      const silentMs = nowMs - session.lastActiveMs;
      if (session.closing && silentMs > CLOSING_MS) {
        this.#counters.endedByClose++;
      } else if (!session.ready) {
        if (silentMs <= this.#limits.reservationMs) continue;
        this.#counters.endedNeverReady++;
      } else if (this.#meter.isSpent(session.account)) {
        this.#counters.endedOverQuota++;
      } else if (silentMs > this.#limits.idleMs && !mayBeActive(session)) {
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

  /**
   * A port where this device and this client have neither a session nor a reservation; else one where they have no
   * session; else any. No port is refused: somebody else may have named the device to keep it out.
   */
  #somePort(ports: readonly SessionPort[], user: PortUser, nowMs: number): SessionPort {
    const start = this.#random.integer(0, ports.length - 1);
    let unserved: SessionPort | undefined;
    for (let i = 0; i < Math.min(ports.length, MAX_PORTS_LOOKED_AT); i++) {
      const port = ports[(start + i) % ports.length]!;
      if (port.serves(user)) continue;
      if (!port.expects(user, nowMs)) return port;
      unserved ??= port;
    }
    return unserved ?? ports[start]!;
  }

  #newMagic(): number {
    for (;;) {
      const [a = 0, b = 0, c = 0, d = 0] = this.#random.bytes(4);
      const magic = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
      if (this.portOf(magic) === undefined) return magic;
    }
  }
}

function release({ endpoint, tcp }: SideCarrier, port: RelayPort): void {
  if (endpoint !== undefined) port.detach(endpoint);
  if (tcp?.state !== undefined) tcp.state.side = undefined;
}

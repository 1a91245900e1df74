import { type Clock, errorMessage, type Log } from '@towpath/core';
import type { PayloadPattern, PlaneStats, RelayPlane, RelayPlaneOptions, SessionCounters } from '@towpath/splice';
import { KNOWN_KEYS } from '../../cipher/known-keys.ts';
import { StreamCipher } from '../../cipher/stream-cipher.ts';
import { MessageType } from '../../codec/message-type.ts';
import type { ClientAccount, RelayMeter } from './meter.ts';
import { DEFAULT_RELAY_LIMITS, type RelayLimits, type RelayOptions } from './options.ts';
import { firstBytes, MAX_RELAYED_BYTES, type RelaySession, UDP_IPV4_HEADER_BYTES } from './relay-session.ts';

/** A session moves into the kernel when no side has introduced itself for this long. */
const QUIET_MS = 2_000;
/** Counters are read when a session had no control message for this share of its idle time. */
const READ_AT_SHARE = 0.3;
const MIN_READ_INTERVAL_MS = 2_000;
/** Reading takes at most a tenth of the time. */
const READ_SPACING = 10;

/** Returns how a `RelayPlane` has to be opened for a relay, apart from form and addresses. */
export function relayPlaneOptions({
  keys,
  limits,
}: Pick<RelayOptions, 'keys' | 'limits'> = {}): Pick<
  RelayPlaneOptions,
  'data' | 'maxPayloadBytes' | 'maxSessions' | 'totalBytesPerSecond'
> {
  const { sessions, totalBytes } = { ...DEFAULT_RELAY_LIMITS, ...limits };
  return {
    data: dataPatterns(keys),
    maxPayloadBytes: MAX_RELAYED_BYTES,
    maxSessions: sessions,
    ...(Number.isFinite(totalBytes.perSecond) && { totalBytesPerSecond: Math.ceil(totalBytes.perSecond) }),
  };
}

/**
 * What the kernel may forward of a session: DRW and its acknowledgements, in the clear and in each cipher. All else
 * reaches the server, which forwards it too.
 */
function dataPatterns(keys: readonly string[] = KNOWN_KEYS): PayloadPattern[] {
  const ciphers = [undefined, ...keys.map((key) => new StreamCipher(key))];
  const values = [MessageType.DRW, MessageType.DRW_ACK].flatMap((type) =>
    ciphers.map((cipher) => {
      const [magic, second] = firstBytes(cipher, type);
      return (magic << 8) | second;
    }),
  );
  return [[{ offsetBytes: 0, lengthBytes: 2, values: [...new Set(values)] }]];
}

interface Placed {
  /** Packets that were counted last. */
  packets: number;
  /** When that was; it has forwarded nothing between its last activity and then. */
  countedMs: number;
  /** Day of the client's account that the kernel has its quota of. */
  readonly dayStartMs: number;
}

/** Moves sessions into the kernel, whose two sides are verified and use UDP, and out of it. */
export class KernelSessions {
  readonly #plane: RelayPlane;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #meter: RelayMeter;
  readonly #limits: RelayLimits;
  /** Sessions in the kernel, or on the way. */
  readonly #placed = new Map<RelaySession, Placed>();
  /** Sessions whose counters are still to be read. */
  readonly #leaving = new Set<RelaySession>();
  #readAtMs = 0;
  #reading = false;

  constructor(
    components: { plane: RelayPlane; clock: Clock; log: Log; meter: RelayMeter },
    { limits }: { limits: RelayLimits },
  ) {
    this.#plane = components.plane;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#meter = components.meter;
    this.#limits = limits;
  }

  get stats(): PlaneStats {
    return this.#plane.stats;
  }

  /** Moves what has changed; to be called every second or so. */
  sweep(sessions: Iterable<RelaySession>, nowMs: number): void {
    let wanted = false;
    for (const session of sessions) {
      const placed = this.#placed.get(session);
      const eligible = this.#isEligible(session, nowMs);
      if (placed === undefined) {
        if (eligible) this.#place(session);
        // The kernel's quota is that of one day: the next sweep begins with that of the new one.
      } else if (!eligible || placed.dayStartMs !== session.account.dayStartMs) this.leave(session);
      else wanted ||= nowMs - session.lastActiveMs > READ_AT_SHARE * this.#limits.idleMs;
    }
    if (wanted && !this.#reading && nowMs >= this.#readAtMs) void this.#read(nowMs);
  }

  /** Whether the kernel forwards a session, so that its last activity is known roughly only. */
  has(session: RelaySession): boolean {
    return this.#placed.has(session);
  }

  /** Whether a session that the server has not heard for its idle time may have been in use: its counters were not read since. */
  mayBeActive(session: RelaySession): boolean {
    const placed = this.#placed.get(session);
    return placed !== undefined && placed.countedMs - session.lastActiveMs <= this.#limits.idleMs;
  }

  /** Leaves a session's packets to the server again; `counted` is called when what the kernel forwarded is known. */
  leave(session: RelaySession, counted?: () => void): void {
    if (this.#placed.delete(session)) {
      // What the kernel has forwarded since its counters were read is no longer seen.
      const { lastActiveMs, lastControlMs } = session;
      if (!session.closing) session.lastActiveMs = lastActiveMs > lastControlMs ? this.#clock.now() : lastControlMs;
      this.#leaving.add(session);
      session.onCounted = counted;
      this.#plane.remove(idOf(session));
    } else if (this.#leaving.has(session)) session.onCounted = counted;
    else counted?.();
  }

  #isEligible(session: RelaySession, nowMs: number): boolean {
    const { ready, client, device, closing, account, lastControlMs, lastActiveMs } = session;
    return (
      ready &&
      !closing &&
      client?.carrier.endpoint !== undefined &&
      device?.carrier.endpoint !== undefined &&
      client.proven &&
      device.proven &&
      nowMs - lastControlMs >= QUIET_MS &&
      // It was heard since: one that only seems to be in use must be seen to be silent.
      lastActiveMs > lastControlMs &&
      !this.#meter.isSpent(account)
    );
  }

  #place(session: RelaySession): void {
    const { client, device, port, account } = session;
    const { local } = port.socket;
    this.#placed.set(session, { packets: 0, countedMs: 0, dayStartMs: account.dayStartMs });
    this.#plane.place(idOf(session), {
      a: { remote: client!.carrier.endpoint!, local },
      b: { remote: device!.carrier.endpoint!, local },
      account: {
        // A new day begins with a new account, and with it a full quota.
        id: `${account.ip} ${account.dayStartMs}`,
        limits: this.#limitsOf(account),
        onUsage: (bytes) => this.#meter.spend(account, bytes, this.#clock.now()),
      },
      onCounted: (counters) => {
        this.#leaving.delete(session);
        session.bytes += counters.bytesFromA + counters.bytesFromB;
        session.onCounted?.();
        session.onCounted = undefined;
      },
    });
  }

  #limitsOf(account: ClientAccount): { bytesPerSecond?: number; quotaBytes?: number } {
    const { clientBytes, clientBytesPerDay } = this.#limits;
    return {
      ...(Number.isFinite(clientBytes.perSecond) && { bytesPerSecond: Math.ceil(clientBytes.perSecond) }),
      ...(Number.isFinite(clientBytesPerDay) && {
        // As in user space, the datagram that uses the last byte passes.
        quotaBytes:
          Math.max(0, Math.ceil(clientBytesPerDay - account.bytes)) + MAX_RELAYED_BYTES + UDP_IPV4_HEADER_BYTES,
      }),
    };
  }

  /** Sees which sessions are not idle although no control message came. */
  async #read(nowMs: number): Promise<void> {
    this.#reading = true;
    const sessions = [...this.#placed.keys()];
    try {
      const counters = await this.#plane.counters();
      const atMs = this.#clock.now();
      for (const session of sessions) {
        const placed = this.#placed.get(session);
        const packets = packetsOf(counters.get(idOf(session)));
        if (placed === undefined) continue;
        placed.countedMs = nowMs;
        if (packets <= placed.packets) continue;
        placed.packets = packets;
        session.lastActiveMs = atMs;
      }
    } catch (error) {
      // What is not known to be idle must not end: the server sees the packets itself for a while.
      this.#log.debug(`Sessions leave the kernel: ${errorMessage(error)}`);
      for (const session of sessions) {
        this.leave(session);
        session.lastControlMs = this.#clock.now();
      }
    } finally {
      this.#reading = false;
      this.#readAtMs = nowMs + Math.max(MIN_READ_INTERVAL_MS, READ_SPACING * (this.#clock.now() - nowMs));
    }
  }
}

function idOf({ magic }: RelaySession): string {
  return String(magic);
}

function packetsOf(counters: SessionCounters | undefined): number {
  return (counters?.packetsFromA ?? 0) + (counters?.packetsFromB ?? 0);
}

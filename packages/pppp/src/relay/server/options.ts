import type { Rate } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { PlaneStats } from '@towpath/splice';
import type { AdmissionLimits } from '../../server/admission.ts';
import type { ShellMetrics, ShellOptions } from '../../server/server-shell.ts';

/**
 * Limits of a relay. A client is an IP address that reserves sessions. Bytes count with IP and UDP headers, 28 for each datagram,
 * also for a side that uses TCP: so the process and the kernel count alike.
 */
export interface RelayLimits {
  /** Most sessions at the same time. @default 10000 */
  sessions: number;
  /** Most sessions of one client. @default 100 */
  sessionsPerClient: number;
  /** Most unused reservations, twice over. @default 65536 */
  reservations: number;
  /** Bytes per second of one client, both directions of all its sessions. @default a gigabit, half a second at once */
  clientBytes: Rate;
  /** Bytes per second of all. @default ten gigabits, half a second at once */
  totalBytes: Rate;
  /** Bytes of one client in a day. @default 1 TiB */
  clientBytesPerDay: number;
  /** Bytes of all in a day. @default 16 TiB */
  totalBytesPerDay: number;
  /**
   * A reservation or session without both sides ends after, ms (docs/protocol/pppp.md, "Connecting through a relay").
   * @default 30000
   */
  reservationMs: number;
  /** A session without traffic ends after, ms (docs/protocol/pppp.md, "Connecting through a relay"). @default 30000 */
  idleMs: number;
}

const GIGABIT_BYTES = 125_000_000;
const TIB_BYTES: number = 2 ** 40;

export const DEFAULT_RELAY_LIMITS: RelayLimits = {
  sessions: 10_000,
  sessionsPerClient: 100,
  reservations: 65_536,
  clientBytes: { perSecond: GIGABIT_BYTES, burst: GIGABIT_BYTES / 2 },
  totalBytes: { perSecond: 10 * GIGABIT_BYTES, burst: 5 * GIGABIT_BYTES },
  clientBytesPerDay: TIB_BYTES,
  totalBytesPerDay: 16 * TIB_BYTES,
  reservationMs: 30_000,
  idleMs: 30_000,
};

export interface RelayOptions extends Omit<ShellOptions, 'limits'> {
  /** Local address, IPv4. @default all */
  address?: string;
  /** UDP base port; 0: chosen by the system. @default 32110 */
  port?: number;
  /** TCP port for clients without outbound UDP; false for none. @default the UDP base port */
  tcpPort?: number | false;
  /** First of the session ports; 0: chosen by the system. @default 0 */
  firstSessionPort?: number;
  /** How many session ports are opened; sessions share them. @default 64 */
  sessionPorts?: number;
  limits?: Partial<AdmissionLimits & RelayLimits>;
}

/** Events of a relay, at most about twenty per second. */
export interface RelayEvents {
  /** A session has both its sides. Addresses as the relay sees them. */
  session: { uid: string; client: Endpoint; device: Endpoint };
  /** A session that had both its sides is over. `bytes`: what was passed on in both directions. */
  ended: { uid: string; bytes: number; durationMs: number };
}

/** Counters of a relay. */
export interface RelayCounters {
  hellos: number;
  reservations: number;
  /** RLY_PORT left unanswered because a limit on sessions is reached. */
  reservationsRefused: number;
  sessionsOpened: number;
  /** Sessions that got both sides. */
  sessionsReady: number;
  endedByClose: number;
  endedIdle: number;
  endedNeverReady: number;
  endedOverQuota: number;
  /** RLY_PKT with a magic that is not valid on that port, or with another UID. */
  wrongMagic: number;
  /** RLY_PKT from an address that has a running session on that port already. */
  portConflicts: number;
  packetsForwarded: number;
  bytesForwarded: number;
  /** Session packets before both sides were there. */
  droppedNotReady: number;
  /** Larger than any PPPP datagram may be. */
  droppedTooLarge: number;
  droppedOverRate: number;
  droppedOverQuota: number;
  /** To a side that has sent nothing since the session became ready. */
  droppedUnproven: number;
  /** From an address that has no session on that port. */
  droppedStrangers: number;
  /** No message for a relay. */
  ignored: number;
}

/** A snapshot of everything that a relay counts. */
export interface RelayMetrics extends RelayCounters, ShellMetrics {
  sessions: number;
  pendingReservations: number;
  clients: number;
  /** What the kernel has forwarded; its packets are in no other counter. Undefined without a kernel. */
  kernel: PlaneStats | undefined;
  /** Events that were left out because there were too many. */
  eventsSuppressed: number;
}

export function newRelayCounters(): RelayCounters {
  return {
    hellos: 0,
    reservations: 0,
    reservationsRefused: 0,
    sessionsOpened: 0,
    sessionsReady: 0,
    endedByClose: 0,
    endedIdle: 0,
    endedNeverReady: 0,
    endedOverQuota: 0,
    wrongMagic: 0,
    portConflicts: 0,
    packetsForwarded: 0,
    bytesForwarded: 0,
    droppedNotReady: 0,
    droppedTooLarge: 0,
    droppedOverRate: 0,
    droppedOverQuota: 0,
    droppedUnproven: 0,
    droppedStrangers: 0,
    ignored: 0,
  };
}

import type { AdmissionCounters, AdmissionLimits } from '../server/admission.ts';
import type { Rate } from '../server/rate-limit.ts';
import type { TcpCounters, TcpLimits } from '../server/tcp-front.ts';

/** What a relay carries at most. A client is an IP address that reserves sessions. */
export interface RelayLimits {
  /** Sessions at a time. @default 10000 */
  sessions: number;
  /** Sessions of one client at a time. @default 100 */
  sessionsPerClient: number;
  /** Reservations that nobody has used yet, twice over. @default 65536 */
  reservations: number;
  /** Bytes per second of one client, both directions of all its sessions. @default a gigabit, half a second at once */
  clientBytes: Rate;
  /** Bytes per second of all. @default ten gigabits, half a second at once */
  totalBytes: Rate;
  /** Bytes of one client in a day. @default 1 TiB */
  clientBytesPerDay: number;
  /** Bytes of all in a day. @default 16 TiB */
  totalBytesPerDay: number;
  /** A reservation or session without both sides ends after, ms (spec/pppp §6.4). @default 30000 */
  reservationMs: number;
  /** A session without traffic ends after, ms (spec/pppp §6.4). @default 30000 */
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

export interface RelayOptions {
  /** Local address, IPv4. @default all */
  address?: string;
  /** UDP base port; 0: chosen by the system. @default 32110 */
  port?: number;
  /** TCP port for those whose UDP does not leave; false for none. @default the UDP base port */
  tcpPort?: number | false;
  /** First of the session ports; 0: chosen by the system. @default 0 */
  firstSessionPort?: number;
  /** How many session ports are opened; sessions share them. @default 64 */
  sessionPorts?: number;
  /** Network keys that are understood besides plaintext. @default all that are publicly known */
  keys?: readonly string[];
  limits?: Partial<AdmissionLimits & RelayLimits>;
  tcpLimits?: Partial<TcpLimits>;
}

/** What came in and what became of it. */
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
  /** To a side that has never been heard since the session became ready. */
  droppedUnproven: number;
  /** From an address that has no session on that port. */
  droppedStrangers: number;
  /** No message for a relay. */
  ignored: number;
  malformed: number;
  /** Of the base port; session ports do not ask. */
  socketErrors: number;
}

/** A snapshot of everything that a relay counts. */
export interface RelayMetrics extends RelayCounters, AdmissionCounters {
  sessions: number;
  pendingReservations: number;
  clients: number;
  sources: number;
  tcpConnections: number;
  tcp: TcpCounters;
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
    droppedUnproven: 0,
    droppedStrangers: 0,
    ignored: 0,
    malformed: 0,
    socketErrors: 0,
  };
}

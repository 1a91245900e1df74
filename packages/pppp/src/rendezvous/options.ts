import type { Clock, Log, Random } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { AdmissionCounters, AdmissionLimits } from '../server/admission.ts';
import type { TcpCounters, TcpLimits } from '../server/tcp-front.ts';
import type { DeviceLimits } from './device-registry.ts';

/** What a server needs of its host. */
export interface ServerComponents {
  network: Network;
  clock: Clock;
  random: Random;
  /** @default silent */
  log?: Log;
}

export interface RendezvousOptions {
  /** Local address, IPv4. @default all */
  address?: string;
  /** UDP ports; more than one lets clients find out their NAT's port step. 0: chosen by the system. @default [32100] */
  ports?: readonly number[];
  /** TCP port for those whose UDP does not leave; false for none. @default the first UDP port */
  tcpPort?: number | false;
  /** Base ports of the relays to name; at most eight are named at a time. RLY_REQ may only name hosts of this list. */
  relays?: readonly Endpoint[];
  /** The secret (DSK, at most 20 characters) of a device. A device that has one must log in with it (0x16). */
  deviceSecret?: (uid: string) => string | undefined;
  /** Clients must present a device's secret as well (0x26, 0x6A). One that presents a wrong one is always refused. @default false */
  clientsNeedSecret?: boolean;
  /** UID prefixes that are served. @default every */
  prefixes?: readonly string[];
  /** Network keys that are understood besides plaintext. @default all that are publicly known */
  keys?: readonly string[];
  limits?: Partial<AdmissionLimits & DeviceLimits>;
  tcpLimits?: Partial<TcpLimits>;
}

/** What came in and what became of it. */
export interface RendezvousCounters {
  datagrams: number;
  /** No PPPP datagram in a cipher that we know, or a malformed one. */
  malformed: number;
  /** Types that are unknown or not for a rendezvous. */
  ignored: number;
  hellos: number;
  logins: number;
  /** Wrong or missing secret, or a prefix that is not served. */
  loginsRefused: number;
  /** Logins of a UID that is in use at another address. */
  loginsContested: number;
  /** Logins under the undocumented cipher (0x12, 0x14, some 0x16). */
  loginsUnreadable: number;
  connectRequests: number;
  connectsOffline: number;
  connectsRefused: number;
  listRequests: number;
  relayRequests: number;
  /** RLY_REQ that named a host which is no relay of ours. */
  foreignRelays: number;
  invitations: number;
  invitationsLimited: number;
  /** Clients' session reports (0xF9), by outcome. */
  reportsOk: number;
  reportsFailed: number;
  socketErrors: number;
}

/** A snapshot of everything that a rendezvous counts. */
export interface RendezvousMetrics extends RendezvousCounters, AdmissionCounters {
  devices: number;
  sources: number;
  tcpConnections: number;
  tcp: TcpCounters;
}

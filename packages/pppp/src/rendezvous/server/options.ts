import type { PathKind } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { AdmissionLimits } from '../../server/admission.ts';
import type { ShellMetrics, ShellOptions } from '../../server/server-shell.ts';
import type { DeviceLimits } from './device-registry.ts';

export interface RendezvousOptions extends Omit<ShellOptions, 'limits'> {
  /** Local address, IPv4. @default all */
  address?: string;
  /** UDP ports; more than one lets clients find out their NAT's port step. 0: chosen by the system. @default [32100] */
  ports?: readonly number[];
  /** TCP port for clients without outbound UDP; false for none. @default the first UDP port */
  tcpPort?: number | false;
  /** Base ports of the relays to name; at most eight are named at a time. RLY_REQ may only name hosts of this list. */
  relays?: readonly Endpoint[];
  /** The secret (DSK, at most 20 characters) of a device. A device that has one must log in with it (0x16). */
  deviceSecret?: (uid: string) => string | undefined;
  /**
   * Clients must present a device's secret as well: with P2P_REQ_DSK; with RLY_REQ, or with a LIST_REQ_DSK from the
   * same address and port within the last minute. A client that presents a wrong one is always refused. Devices without
   * a secret can be asked for by everybody. @default false
   */
  clientsNeedSecret?: boolean;
  /** UID prefixes that are served. @default every */
  prefixes?: readonly string[];
  limits?: Partial<AdmissionLimits & DeviceLimits>;
}

/** Events of a rendezvous, at most about twenty per second. */
export interface RendezvousEvents {
  /** A device has logged in that was not online. */
  online: { uid: string; endpoint: Endpoint; over: 'udp' | 'tcp' };
  /** An online device has logged in from another address. */
  moved: { uid: string; endpoint: Endpoint; from: Endpoint; over: 'udp' | 'tcp' };
  /** A device has not logged in for too long, or its connection is gone. */
  offline: { uid: string; endpoint: Endpoint; reason: 'silent' | 'disconnected' };
  /** A device at another address claims the UID of a device that is online; it was refused. */
  contested: { uid: string; endpoint: Endpoint; claimant: Endpoint };
  /** A login was refused: wrong or missing secret, prefix that is not served. */
  'login-refused': { uid: string; endpoint: Endpoint; result: number };
  /** A client has asked for a device; repetitions are left out. `result` as in `ResultCode`. */
  asked: { uid: string; client: Endpoint; pathKind: PathKind; result: number };
}

/** Counters of a rendezvous. */
export interface RendezvousCounters {
  /** Types that are unknown or not for a rendezvous. */
  ignored: number;
  hellos: number;
  logins: number;
  /** Wrong or missing secret, or a prefix that is not served. */
  loginsRefused: number;
  /** Logins of a UID that is in use at another address, or from an address that is in use by another device. */
  loginsContested: number;
  /** Logins under the undocumented cipher (0x12, 0x14, some 0x16). */
  loginsUnreadable: number;
  connectRequests: number;
  connectsOffline: number;
  connectsRefused: number;
  listRequests: number;
  relayRequests: number;
  /** RLY_REQ for a host that is not one of this server's relays. */
  foreignRelays: number;
  invitations: number;
  invitationsLimited: number;
  /** Clients' session reports (0xF9), by outcome. */
  reportsOk: number;
  reportsFailed: number;
}

/** A snapshot of everything that a rendezvous counts. */
export interface RendezvousMetrics extends RendezvousCounters, ShellMetrics {
  devices: number;
  /** Events that were left out because there were too many. */
  eventsSuppressed: number;
}

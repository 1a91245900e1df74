import type { Endpoint } from '@towpath/net';
import { isKnown, type Source } from '../../server/admission.ts';
import { nextIdleAt, type Rate } from '@towpath/core';
import { RecentMap } from '../../server/recent-map.ts';
import type { Peer } from './peer.ts';

/** How many devices a rendezvous holds, and how they are treated. */
export interface DeviceLimits {
  /** Devices that logged in more than once or proved themselves. @default 100000 */
  devices: number;
  /** Devices after their first login, twice over: a flood of made-up UIDs ends here. @default 16384 */
  newDevices: number;
  /** A device counts as online for so long after its last login, ms (docs/protocol/pppp.md, "Rendezvous messages"). @default 300000 */
  onlineMs: number;
  /**
   * A device without a secret keeps its UID, and its address, for so long after its last login, ms: others that claim the
   * UID are refused until then. Two and a half of the usual login intervals. @default 75000
   */
  heldMs: number;
  /** Invitations (PUNCH_TO, RLY_TO) to one device, for known clients and again for new ones. @default 20/s, 40 at once */
  invitations: Rate;
}

export const DEFAULT_DEVICE_LIMITS: DeviceLimits = {
  devices: 100_000,
  newDevices: 16_384,
  onlineMs: 300_000,
  heldMs: 75_000,
  invitations: { perSecond: 20, burst: 40 },
};

/** The part of the table that is not in order is looked through no more often than this. */
const SWEEP_FRESH_MS = 10_000;

/** A device that logged in. */
export interface Device {
  readonly uid: string;
  peer: Peer;
  /** Its LAN address, as it reports it. */
  local: Endpoint | undefined;
  /** What its next login shows when it comes from elsewhere. */
  continuity: string | undefined;
  lastLoginMs: number;
  /** Another address has claimed its UID: clients are told until then. */
  contestedUntilMs: number;
  /** State of the limits on invitations. */
  knownIdleAtMs: number;
  newIdleAtMs: number;
}

/** One login. */
export interface Login {
  readonly uid: string;
  readonly peer: Peer;
  readonly local: Endpoint | undefined;
  readonly continuity: string | undefined;
  /** It has shown the device's secret. */
  readonly proven: boolean;
  /** Its source was there before and is not one of a crowd. */
  readonly regular: boolean;
}

/** What became of a login. */
export type LoginOutcome =
  | { readonly type: 'new' | 'repeated'; readonly device: Device }
  /** It was online at another address before. */
  | { readonly type: 'moved'; readonly device: Device; readonly from: Peer }
  /** The UID belongs to a device at another address that has logged in lately. */
  | { readonly type: 'uid-held'; readonly device: Device }
  /** The address belongs to a device with another UID that has logged in lately. */
  | { readonly type: 'address-held'; readonly device: Device };

/**
 * The table of devices. A login by one packet goes to a part of the table that a flood may flush; a source that is
 * known by then, or has proved itself, gets a lasting place, and least recently logged in goes first when that is full.
 *
 * A UID moves to another address when the login shows the device's secret, or the continuity value of the login before;
 * otherwise only when the device has not logged in for `heldMs` and the new source is no single packet and not one of a
 * crowd. So neither a forged packet nor a second device with the same UID replaces a device that is there.
 */
export class DeviceRegistry {
  readonly #limits: DeviceLimits;
  readonly #fresh: RecentMap<string, Device>;
  /** In order of the last login. */
  readonly #lasting = new Map<string, Device>();
  #sweptAtMs = 0;

  constructor(limits: DeviceLimits) {
    this.#limits = limits;
    this.#fresh = new RecentMap(limits.newDevices);
  }

  get size(): number {
    return this.#fresh.size + this.#lasting.size;
  }

  /** Records a login, or returns why it is refused. */
  login(login: Login, nowMs: number): LoginOutcome {
    const { uid, peer, local, continuity } = login;
    const { source } = peer;
    const before = this.find(uid, nowMs);
    const from = before === undefined || before.peer.isAt(peer) ? undefined : before.peer;
    if (before !== undefined && from !== undefined && !this.#mayMove(before, login, nowMs)) {
      if (login.regular) before.contestedUntilMs = nowMs + this.#limits.heldMs;
      return { type: 'uid-held', device: before };
    }
    const neighbour = this.deviceAt(source, nowMs);
    if (neighbour !== undefined && neighbour.uid !== uid) {
      // One device per address: so a few sources cannot fill the table.
      if (!login.proven && this.#isHeld(neighbour, nowMs)) return { type: 'address-held', device: neighbour };
      this.remove(neighbour.uid, source);
    }
    const device = before ?? {
      uid,
      peer,
      local,
      continuity,
      lastLoginMs: nowMs,
      contestedUntilMs: 0,
      knownIdleAtMs: 0,
      newIdleAtMs: 0,
    };
    source.uid = uid;
    device.peer = peer;
    device.local = local;
    device.continuity = continuity;
    device.lastLoginMs = nowMs;
    this.#store(device, isKnown(source, nowMs));
    if (from !== undefined) return { type: 'moved', device, from };
    return { type: before === undefined ? 'new' : 'repeated', device };
  }

  /** The device, when it is online. */
  find(uid: string, nowMs: number): Device | undefined {
    const device = this.#lasting.get(uid) ?? this.#fresh.get(uid);
    return device && nowMs - device.lastLoginMs <= this.#limits.onlineMs ? device : undefined;
  }

  /** The device that logged in last from a source, when it is online. */
  deviceAt(source: Source, nowMs: number): Device | undefined {
    const device = source.uid === undefined ? undefined : this.find(source.uid, nowMs);
    return device?.peer.source === source ? device : undefined;
  }

  /** Whether this client may have the device invited now; clients that are known have a share of their own. */
  mayInvite(device: Device, known: boolean, nowMs: number): boolean {
    const rate = this.#limits.invitations;
    const idleAt = nextIdleAt(rate, known ? device.knownIdleAtMs : device.newIdleAtMs, nowMs, 1);
    if (idleAt < 0) return false;
    if (known) device.knownIdleAtMs = idleAt;
    else device.newIdleAtMs = idleAt;
    return true;
  }

  /** Removes a device if it logged in last from this source. @returns the device */
  remove(uid: string, source: Source): Device | undefined {
    const device = this.#lasting.get(uid) ?? this.#fresh.get(uid);
    if (device?.peer.source !== source) return undefined;
    this.#lasting.delete(uid);
    this.#fresh.delete(uid);
    return device;
  }

  /** Forgets devices that are offline. @param onGone called for each */
  sweep(nowMs: number, onGone: (device: Device) => void): void {
    for (const device of this.#lasting.values()) {
      // Oldest login first: the rest is online.
      if (nowMs - device.lastLoginMs <= this.#limits.onlineMs) break;
      this.#lasting.delete(device.uid);
      onGone(device);
    }
    if (nowMs - this.#sweptAtMs < SWEEP_FRESH_MS) return;
    this.#sweptAtMs = nowMs;
    const gone = [...this.#fresh.values()].filter(({ lastLoginMs }) => nowMs - lastLoginMs > this.#limits.onlineMs);
    for (const device of gone) {
      this.#fresh.delete(device.uid);
      onGone(device);
    }
  }

  clear(): void {
    this.#fresh.clear();
    this.#lasting.clear();
  }

  #mayMove(device: Device, { proven, continuity, regular }: Login, nowMs: number): boolean {
    if (proven) return true;
    if (continuity !== undefined && continuity === device.continuity) return true;
    return regular && !this.#isHeld(device, nowMs);
  }

  #isHeld({ lastLoginMs }: Device, nowMs: number): boolean {
    return nowMs - lastLoginMs <= this.#limits.heldMs;
  }

  #store(device: Device, lasting: boolean): void {
    const { uid } = device;
    if (!lasting && !this.#lasting.has(uid)) {
      this.#fresh.set(uid, device);
      return;
    }
    this.#fresh.delete(uid);
    this.#lasting.delete(uid);
    this.#lasting.set(uid, device);
    if (this.#lasting.size > this.#limits.devices) this.#lasting.delete(this.#lasting.keys().next().value!);
  }
}

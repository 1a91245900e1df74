import type { Endpoint } from '@towpath/net';
import { isKnown, type Source } from '../server/admission.ts';
import { nextIdleAt, type Rate } from '../server/rate-limit.ts';
import { RecentMap } from '../server/recent-map.ts';
import type { Peer } from './peer.ts';

/** How many devices a rendezvous holds, and how they are treated. */
export interface DeviceLimits {
  /** Devices that logged in more than once or proved themselves. @default 100000 */
  devices: number;
  /** Devices after their first login, twice over: a flood of made-up UIDs ends here. @default 16384 */
  newDevices: number;
  /** A device counts as online for so long after its last login, ms (spec/pppp §5.1). @default 300000 */
  onlineMs: number;
  /** Invitations (PUNCH_TO, RLY_TO) to one device, for known clients and again for new ones. @default 20/s, 40 at once */
  invitations: Rate;
}

export const DEFAULT_DEVICE_LIMITS: DeviceLimits = {
  devices: 100_000,
  newDevices: 16_384,
  onlineMs: 300_000,
  invitations: { perSecond: 20, burst: 40 },
};

/** A device that logged in. */
export interface Device {
  readonly uid: string;
  peer: Peer;
  /** Its own address in its LAN, as it says. */
  local: Endpoint | undefined;
  lastLoginMs: number;
  /** State of the limits on invitations. */
  knownIdleAtMs: number;
  newIdleAtMs: number;
}

/**
 * The table of devices. A login by one packet goes to a part of the table that a flood may flush; a source that is
 * known by then, or has proved itself, gets a lasting place, and least recently logged in goes first when that is full.
 * Only such a source may take a UID over from another address, and not while it is one of a crowd, so that a forged packet
 * cannot.
 */
export class DeviceRegistry {
  readonly #limits: DeviceLimits;
  readonly #fresh: RecentMap<string, Device>;
  /** In order of the last login. */
  readonly #lasting = new Map<string, Device>();

  constructor(limits: DeviceLimits) {
    this.#limits = limits;
    this.#fresh = new RecentMap(limits.newDevices);
  }

  get size(): number {
    return this.#fresh.size + this.#lasting.size;
  }

  /** Records a login. Undefined: the UID is in use at another address; a repetition will be accepted. */
  login(
    uid: string,
    peer: Peer,
    { local, mayTakeOver }: { local: Endpoint | undefined; mayTakeOver: boolean },
    nowMs: number,
  ): Device | undefined {
    const { source } = peer;
    const known = isKnown(source, nowMs);
    let device = this.find(uid, nowMs);
    if (device !== undefined && !mayTakeOver && !device.peer.isAt(peer)) return undefined;
    if (device === undefined) {
      device = { uid, peer, local, lastLoginMs: nowMs, knownIdleAtMs: 0, newIdleAtMs: 0 };
    }
    // One device per address: so a few sources cannot fill the table.
    if (source.uid !== undefined && source.uid !== uid) this.remove(source.uid, source);
    source.uid = uid;
    device.peer = peer;
    device.local = local;
    device.lastLoginMs = nowMs;
    if (!known && !this.#lasting.has(uid)) {
      this.#fresh.set(uid, device);
      return device;
    }
    this.#fresh.delete(uid);
    this.#lasting.delete(uid);
    this.#lasting.set(uid, device);
    if (this.#lasting.size > this.#limits.devices) this.#lasting.delete(this.#lasting.keys().next().value!);
    return device;
  }

  /** The device, when it is online. */
  find(uid: string, nowMs: number): Device | undefined {
    const device = this.#lasting.get(uid) ?? this.#fresh.get(uid);
    return device && nowMs - device.lastLoginMs <= this.#limits.onlineMs ? device : undefined;
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

  /** Removes a device if it logged in last from this source. */
  remove(uid: string, source: Source): void {
    if (this.#lasting.get(uid)?.peer.source === source) this.#lasting.delete(uid);
    if (this.#fresh.get(uid)?.peer.source === source) this.#fresh.delete(uid);
  }

  /** Forgets devices that are offline. */
  sweep(nowMs: number): void {
    for (const device of this.#lasting.values()) {
      // Oldest login first: the rest is online.
      if (nowMs - device.lastLoginMs <= this.#limits.onlineMs) break;
      this.#lasting.delete(device.uid);
    }
  }

  clear(): void {
    this.#fresh.clear();
    this.#lasting.clear();
  }
}

import type { WireGuardPeer } from '../wireguard/device.ts';

/** What WireGuard carried between two readings. */
export interface TrafficChange {
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Time of the reading before, `Clock.now` ms. */
  readonly sinceMs: number;
  /** More arrived than echoes and keep-alives amount to. */
  readonly isBusy: boolean;
  /** Nothing has arrived for a while, from a peer that was busy, or that data is sent to. */
  readonly fellSilent: boolean;
}

/** From so much on a peer is busy. */
const BUSY_BYTES_PER_SECOND = 2_048;
const SILENT_MS = 500;
/** More in such a time than the echoes of an idle peer and a handshake: the peer is in use. */
const IN_USE = { bytes: 1_024, withinMs: 5_000 } as const;

/** Tells from the counters of WireGuard what a peer is used for. */
export class PeerTraffic {
  #before: { readonly atMs: number; readonly receivedBytes: number; readonly sentBytes: number } | undefined;
  #quietSinceMs = Number.NEGATIVE_INFINITY;
  #wasBusy = false;
  #inUse = false;
  #windowAtMs = Number.NEGATIVE_INFINITY;
  #windowBytes = 0;

  /** Data was carried in the last seconds. */
  get isInUse(): boolean {
    return this.#inUse;
  }

  /** Takes a reading at `nowMs` (`Clock.now`); undefined for the first. */
  take(nowMs: number, reading: Pick<WireGuardPeer, 'receivedBytes' | 'sentBytes'>): TrafficChange | undefined {
    const before = this.#before;
    this.#before = { atMs: nowMs, receivedBytes: reading.receivedBytes, sentBytes: reading.sentBytes };
    if (before === undefined) return undefined;
    // The counters begin anew with a peer that is made again.
    const receivedBytes = Math.max(0, reading.receivedBytes - before.receivedBytes);
    const sentBytes = Math.max(0, reading.sentBytes - before.sentBytes);
    const busyBytes = (BUSY_BYTES_PER_SECOND / 1_000) * (nowMs - before.atMs);
    const isBusy = receivedBytes >= busyBytes && receivedBytes > 0;
    this.#use(nowMs, receivedBytes + sentBytes);
    if (receivedBytes > 0) {
      this.#quietSinceMs = nowMs;
      this.#wasBusy = isBusy;
    }
    const isQuiet = nowMs - Math.max(this.#quietSinceMs, before.atMs - SILENT_MS) >= SILENT_MS;
    const fellSilent = receivedBytes === 0 && isQuiet && (this.#wasBusy || sentBytes >= busyBytes);
    if (fellSilent) {
      this.#quietSinceMs = nowMs;
      this.#wasBusy = false;
    }
    return { receivedBytes, sentBytes, sinceMs: before.atMs, isBusy, fellSilent };
  }

  #use(nowMs: number, bytes: number): void {
    this.#windowBytes += bytes;
    const isOver = nowMs - this.#windowAtMs >= IN_USE.withinMs;
    if (this.#windowBytes >= IN_USE.bytes) this.#inUse = true;
    else if (isOver) this.#inUse = false;
    if (!isOver) return;
    this.#windowAtMs = nowMs;
    this.#windowBytes = 0;
  }
}

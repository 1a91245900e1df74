import { backoff, type Clock, errorMessage, Events, type Log, type Random, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, sameEndpoint } from '@towpath/net';
import type { PeerPath, SendDatagram } from '../peer-path.ts';
import { MeshReason, type Reason } from '../reason.ts';
import type { WireGuardPeer } from '../wireguard/device.ts';
import type { PeerEndpointControl } from './endpoint-control.ts';
import { Hop, type HopCounters, type HopOptions } from './hop.ts';
import { moveToHop, moveToSplice } from './moves.ts';
import type { SpliceControl, SpliceEntry } from './splice-control.ts';

/** Who copies WireGuard's datagrams: this process, or the kernel. */
export type DataPlaneKind = 'hop' | 'splice';

export interface DataPlaneComponents {
  network: Network;
  clock: Clock;
  random: Random;
  wireGuard: PeerEndpointControl;
  /** Undefined when the splice is switched off. */
  splice?: SpliceControl | undefined;
  log?: Log | undefined;
}

export interface DataPlaneOptions {
  publicKey: Uint8Array;
  /** Makes WireGuard send something to the peer that is answered: an echo through the tunnel. */
  sendEcho(): void;
  /** See {@link HopOptions.yieldsHandshake}. */
  yieldsHandshake?: HopOptions['yieldsHandshake'];
  /** A path is spliced when it has been current for this long, ms. @default 1000 */
  settleMs?: number;
}

export interface DataPlaneEvents {
  /** The data plane has changed, or the reason why it is not the splice. */
  changed: { kind: DataPlaneKind; reason: Reason };
}

const DEFAULT_SETTLE_MS = 1_000;
/** After a move to the splice that carried nothing, the next is tried this much later, ms. */
const RETRY = { baseMs: 3_000, maxMs: 60_000 };

/**
 * Carries the datagrams of one peer between WireGuard and the peer's current path: over the hop from the first moment,
 * over the splice when the path allows it. Moves lose nothing; their order is in docs/protocol/connectivity.md, "Moving
 * between hop and splice".
 */
export class DataPlane implements AsyncDisposable {
  readonly events: Events<DataPlaneEvents> = new Events();
  readonly #components: DataPlaneComponents;
  readonly #options: DataPlaneOptions;
  readonly #hop: Hop;
  readonly #stopWatching: (() => void) | undefined;
  #isClosed = false;
  #path: PeerPath | undefined;
  /** Of the path and its ends as they were set: a path may become plain, and no longer be it. */
  #pathId: string | undefined;
  #second: PeerPath | undefined;
  #kind: DataPlaneKind = 'hop';
  #reason: Reason = MeshReason.noPath;
  /** What the splice carries now, or is being moved to. */
  #entry: SpliceEntry | undefined;
  /** Aborts the wait before a move, and a move to the splice that is under way; undefined while none is to come. */
  #attempt: AbortController | undefined;
  /** Moves come one after the other. */
  #moves: Promise<void> = Promise.resolve();

  private constructor(components: DataPlaneComponents, options: DataPlaneOptions, hop: Hop) {
    this.#components = components;
    this.#options = options;
    this.#hop = hop;
    this.#stopWatching = components.splice?.onLost(() => this.#spliceLost());
  }

  /**
   * Opens the data plane on the hop. The caller gives the peer {@link hopEndpoint} in WireGuard.
   * @throws NetError as {@link Network.bindUdp}.
   */
  static async open(components: DataPlaneComponents, options: DataPlaneOptions): Promise<DataPlane> {
    const wireGuard = { address: '127.0.0.1', port: components.wireGuard.listenPort };
    const hop = await Hop.open(components, { wireGuard, yieldsHandshake: options.yieldsHandshake });
    return new DataPlane(components, options, hop);
  }

  /** Where WireGuard sends to while the hop carries the peer's datagrams. */
  get hopEndpoint(): Endpoint {
    return this.#hop.endpoint;
  }

  get kind(): DataPlaneKind {
    return this.#kind;
  }

  /** Why it is on the data plane that it is on. */
  get reason(): Reason {
    return this.#reason;
  }

  get path(): PeerPath | undefined {
    return this.#path;
  }

  /** Datagrams that went through this process. */
  get counters(): HopCounters {
    return this.#hop.counters;
  }

  /**
   * Sets the current path, and a second one that everything is also sent on. The hop uses them at once; a splice of the
   * path before is left, and the new path is spliced when it has lasted.
   */
  setPaths(path: PeerPath | undefined, second?: PeerPath): void {
    if (this.#isClosed) return;
    this.#hop.setPaths(path, second);
    const id = pathId(path);
    const changed = id !== this.#pathId || (second === undefined) !== (this.#second === undefined);
    this.#path = path;
    this.#pathId = id;
    this.#second = second;
    if (changed) this.#restart(path === undefined ? MeshReason.noPath : MeshReason.pathNew);
  }

  /** Hands a datagram of the peer to WireGuard; see {@link Hop.deliver}. */
  deliver(data: Uint8Array, answer?: SendDatagram): void {
    this.#hop.deliver(data, answer);
  }

  /** See {@link Hop.initiate}. */
  initiate(send: SendDatagram): void {
    this.#hop.initiate(send);
  }

  /**
   * Repairs an endpoint that WireGuard must not have: a real address while the splice is not in place, from which
   * packets would leave through a port that no NAT on the way knows.
   */
  async repair(peer: WireGuardPeer): Promise<void> {
    if (this.#isClosed || this.#kind !== 'hop' || this.#entry !== undefined) return;
    if (peer.endpoint !== undefined && sameEndpoint(peer.endpoint, this.#hop.endpoint)) return;
    await this.#components.wireGuard.setEndpoint(this.#options.publicKey, this.#hop.endpoint);
    if (peer.endpoint !== undefined) this.#become('hop', MeshReason.endpointStray);
  }

  /** Leaves the splice and closes the hop. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#attempt?.abort();
    this.#stopWatching?.();
    await this.#moves;
    if (this.#entry !== undefined) await this.#leave(this.#entry).catch(() => {});
    await this.#hop.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends what is under way, goes back to the hop, and begins anew with the current path. */
  #restart(reason: Reason): void {
    this.#attempt?.abort();
    const attempt = new AbortController();
    this.#attempt = attempt;
    const { log = silentLog } = this.#components;
    this.#moves = this.#moves.then(async () => {
      if (this.#entry !== undefined) {
        // WireGuard's process may have ended. The one that is made instead has its endpoint repaired.
        await this.#leave(this.#entry).catch((error: unknown) =>
          log.warn('The move to the hop failed.', { error: errorMessage(error) }),
        );
      }
      this.#become('hop', reason);
      if (!attempt.signal.aborted) void this.#spliceLater(attempt.signal).finally(() => this.#over(attempt));
    });
  }

  #over(attempt: AbortController): void {
    if (this.#attempt === attempt) this.#attempt = undefined;
  }

  async #spliceLater(signal: AbortSignal): Promise<void> {
    const { clock, random, splice, log = silentLog } = this.#components;
    const path = this.#path;
    const waits = backoff({ ...RETRY, random });
    if (path === undefined) return;
    let failed = '';
    try {
      for (let waitMs = this.#options.settleMs ?? DEFAULT_SETTLE_MS; ; waitMs = waits.next().value ?? RETRY.maxMs) {
        if (splice === undefined) return this.#become('hop', MeshReason.spliceOff);
        if (!splice.available) return this.#become('hop', MeshReason.spliceUnavailable);
        if (this.#second !== undefined) return this.#become('hop', MeshReason.twoPaths);
        if (!path.isPlain) return this.#become('hop', MeshReason.pathNotPlain);
        await clock.sleep(waitMs, signal);
        const move = this.#moves.then(() => this.#splice(path, splice, signal));
        this.#moves = move.then(
          () => {},
          () => {},
        );
        await move.catch((error: unknown) => {
          signal.throwIfAborted();
          const message = errorMessage(error);
          if (message !== failed) log.warn('The move to the splice failed; the hop carries on.', { error: message });
          failed = message;
          this.#become('hop', MeshReason.spliceUnavailable);
        });
        if (this.#kind === 'splice') return;
      }
    } catch (error) {
      if (!signal.aborted) log.warn('The splice is not tried again on this path.', { error: errorMessage(error) });
    }
  }

  async #splice(path: PeerPath, splice: SpliceControl, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { local, remote } = path.plain ?? path;
    const entry = await splice.entry({ local, remote });
    if (entry === undefined) return this.#become('hop', MeshReason.routeDiffers);
    this.#entry = entry;
    const done = await moveToSplice(this.#components, { ...this.#move(entry), remote, signal }).catch(
      async (error: unknown) => {
        await this.#leave(entry);
        throw error;
      },
    );
    if (done) return this.#become('splice', MeshReason.spliced);
    await this.#leave(entry);
    this.#become('hop', MeshReason.spliceSilent);
  }

  async #leave(entry: SpliceEntry): Promise<void> {
    try {
      await moveToHop(this.#components, this.#move(entry));
    } finally {
      if (this.#entry === entry) this.#entry = undefined;
    }
  }

  #move(entry: SpliceEntry): { entry: SpliceEntry; publicKey: Uint8Array; hop: Endpoint; sendEcho(): void } {
    const { publicKey, sendEcho } = this.#options;
    return { entry, publicKey, hop: this.#hop.endpoint, sendEcho };
  }

  /** The rules are gone: WireGuard's packets would leave from its own port. The hop takes over at once. */
  #spliceLost(): void {
    if (this.#entry === undefined) return;
    this.#entry = undefined;
    void this.#components.wireGuard.setEndpoint(this.#options.publicKey, this.#hop.endpoint).catch(() => {});
    this.#restart(MeshReason.spliceLost);
  }

  #become(kind: DataPlaneKind, reason: Reason): void {
    if (kind === this.#kind && reason === this.#reason) return;
    this.#kind = kind;
    this.#reason = reason;
    this.events.emit('changed', { kind, reason });
  }
}

function pathId(path: PeerPath | undefined): string | undefined {
  if (path === undefined) return undefined;
  return path.plain === undefined ? path.id : `${path.id} over ${formatEndpoint(path.plain.remote)}`;
}

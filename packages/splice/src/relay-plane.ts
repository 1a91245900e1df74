import {
  AbortedError,
  backoff,
  type Clock,
  errorCode,
  errorMessage,
  type Log,
  type Random,
  SharedWork,
  silentLog,
  type Timer,
} from '@towpath/core';
import { KernelRelay, type KernelRelayOptions, type SessionCounters } from './kernel-relay.ts';
import type { TablesComponents } from './owned-tables.ts';
import type { RelayAccount } from './relay-accounts.ts';
import type { RelayEnd } from './relay-form.ts';
import type { RelayForm } from './relay-rules.ts';

/** Who shares limits, and hears what the kernel has forwarded for it. */
export interface PlaneAccount {
  readonly id: string;
  readonly limits: RelayAccount;
  /** Bytes that were forwarded since the last call, with IP and UDP headers. */
  onUsage?(bytes: number): void;
}

/** A session that the kernel is to forward. A local address of 0.0.0.0 is the one that the host sends to the end from. */
export interface PlaneSession {
  readonly a: RelayEnd;
  readonly b: RelayEnd;
  readonly account?: PlaneAccount;
  /** The kernel forwards it from now on, or no longer: because it was removed, or replaced by another. */
  onMoved?(inKernel: boolean): void;
  /** What the kernel has forwarded, after the session has left it; zeros when that could not be read. */
  onCounted?(counters: SessionCounters): void;
}

/** A snapshot of what the kernel forwards. Traffic of open sessions is up to some seconds old. */
export interface PlaneStats extends SessionCounters {
  /** Sessions that the kernel forwards now. */
  readonly sessions: number;
  /** Sessions that are to be forwarded and are not yet, or cannot be. */
  readonly waiting: number;
  /** Sessions ever moved into the kernel. */
  readonly moved: number;
  /** Attempts to move a session that failed. */
  readonly failed: number;
  /** Packets that were dropped over a rate. */
  readonly packetsOverRate: number;
  readonly packetsOverQuota: number;
  /** How often the tables had to be made again. */
  readonly replaced: number;
}

export interface RelayPlaneOptions extends KernelRelayOptions {
  /** How often the usage of accounts is read, ms. @default 1000 */
  usageIntervalMs?: number;
}

interface Entry {
  readonly key: string;
  readonly session: PlaneSession;
  /** The session leaves, or has left. */
  gone: boolean;
  /** Present while it waits for the next attempt; aborts when the session leaves. */
  waiting: AbortController | undefined;
  account: Account | undefined;
  inKernel: boolean;
}

interface Account {
  readonly owner: PlaneAccount;
  sessions: number;
  usedBytes: number;
  /** Rejected when the kernel refused it; another one is made then. */
  ready: Promise<void>;
  /** Intervals without a session. */
  idle: number;
}

const RETRY = { baseMs: 250, maxMs: 30_000 };
const DEFAULT_USAGE_INTERVAL_MS = 1_000;
/** An account keeps its state this long, so that a session that comes back does not begin with a full rate. */
const IDLE_INTERVALS = 10;
const NONE: SessionCounters = { packetsFromA: 0, bytesFromA: 0, packetsFromB: 0, bytesFromB: 0 };

/**
 * Keeps in the kernel what a server wants to be there. {@link place} and {@link remove} return at once; until the kernel
 * has confirmed, and whenever it cannot, packets reach the server's sockets. Changes of one session happen in order.
 */
export class RelayPlane implements Disposable {
  readonly form: RelayForm;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #relay: KernelRelay;
  readonly #intervalMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #accounts = new Map<string, Account>();
  readonly #reading: SharedWork<ReadonlyMap<string, SessionCounters>>;
  #timer: Timer | undefined;
  #closed = false;
  #number = 0;
  /** Of sessions that have left; and of those that are there, when they were last read, by key. */
  #ended: SessionCounters = NONE;
  #present = new Map<string, SessionCounters>();
  readonly #stats = { moved: 0, failed: 0, packetsOverRate: 0, packetsOverQuota: 0, replaced: 0 };

  /** Makes the tables. @throws SpliceError */
  static async open(components: TablesComponents, options: RelayPlaneOptions): Promise<RelayPlane> {
    const { usageIntervalMs, ...relay } = options;
    return new RelayPlane(components, await KernelRelay.open(components, relay), usageIntervalMs);
  }

  private constructor({ clock, random, log }: TablesComponents, relay: KernelRelay, intervalMs?: number) {
    this.#clock = clock;
    this.#random = random;
    this.#log = log ?? silentLog;
    this.#relay = relay;
    this.#intervalMs = intervalMs ?? DEFAULT_USAGE_INTERVAL_MS;
    this.form = relay.form;
    this.#reading = new SharedWork(() => relay.counters());
    relay.events.on('replaced', () => {
      this.#stats.replaced++;
    });
  }

  get stats(): PlaneStats {
    let sessions = 0;
    for (const { inKernel } of this.#entries.values()) if (inKernel) sessions++;
    const waiting = this.#entries.size - sessions;
    return { ...this.#stats, ...[...this.#present.values()].reduce(sum, this.#ended), sessions, waiting };
  }

  /** Whether the kernel forwards a session now. */
  inKernel(id: string): boolean {
    return this.#entries.get(id)?.inKernel ?? false;
  }

  /** Moves a session into the kernel, as soon and as long as it can be there; replaces one of the same id. */
  place(id: string, session: PlaneSession): void {
    if (this.#closed) return;
    this.remove(id);
    const key = `${id} ${++this.#number}`;
    const entry: Entry = { key, session, gone: false, waiting: undefined, account: undefined, inKernel: false };
    this.#entries.set(id, entry);
    this.#arm();
    void this.#enter(entry);
  }

  /** Leaves the packets of a session to the server's sockets again. */
  remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    entry.gone = true;
    entry.waiting?.abort(new AbortedError('The session has left the kernel.'));
    const was = entry.inKernel;
    entry.inKernel = false;
    if (was) entry.session.onMoved?.(false);
    void this.#leave(entry);
  }

  /** Reads the counters of the sessions that are in the kernel now. @throws SpliceError */
  async counters(): Promise<Map<string, SessionCounters>> {
    const read = await this.#reading.join();
    return new Map([...this.#entries].map(([id, { key }]) => [id, read.get(key) ?? NONE]));
  }

  /** Compares the kernel's maps with the sessions: see {@link KernelRelay.list}. @throws SpliceError */
  list(): Promise<{ complete: string[]; incomplete: string[]; unexpected: string[] }> {
    return this.#relay.list();
  }

  /** Reads now what accounts have used and tells them; it is done at intervals anyway. @throws SpliceError */
  async readUsage(): Promise<void> {
    const { bytes, packetsOverRate, packetsOverQuota } = await this.#relay.usage();
    this.#stats.packetsOverRate = packetsOverRate;
    this.#stats.packetsOverQuota = packetsOverQuota;
    for (const [id, account] of this.#accounts) {
      const used = bytes.get(id) ?? account.usedBytes;
      const fresh = used - account.usedBytes;
      account.usedBytes = used;
      if (fresh > 0) account.owner.onUsage?.(fresh);
    }
  }

  /** Removes the tables: all packets reach the server's sockets. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    for (const id of [...this.#entries.keys()]) this.remove(id);
    this.#relay.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #enter(entry: Entry): Promise<void> {
    const { session, key } = entry;
    const { a, b, account: owner } = session;
    for (const delayMs of backoff({ ...RETRY, random: this.#random })) {
      try {
        if (owner !== undefined) await this.#hold(entry, owner);
        if (entry.gone) return;
        const ends = await this.#relay.located({ a, b });
        if (entry.gone) return;
        await this.#relay.open(key, { ...ends, ...(owner && { account: owner.id }) });
        if (entry.gone) return;
        entry.inKernel = true;
        this.#stats.moved++;
        session.onMoved?.(true);
        return;
      } catch (error) {
        if (entry.gone) return;
        this.#stats.failed++;
        this.#log.debug(`A session stays in user space: ${errorMessage(error)}`);
        // What these ends cannot do now they can never do.
        if (errorCode(error) === 'invalid-value') return;
        entry.waiting = new AbortController();
        await this.#clock.sleep(delayMs, entry.waiting.signal).catch(() => 'it has left');
        entry.waiting = undefined;
        if (entry.gone) return;
      }
    }
  }

  async #leave({ key, session, account }: Entry): Promise<void> {
    let counters = NONE;
    try {
      counters = await this.#relay.close(key);
      this.#ended = sum(this.#ended, counters);
    } catch (error) {
      if (!this.#closed) this.#log.warn(`The counters of a session were not read: ${errorMessage(error)}`);
    }
    this.#present.delete(key);
    if (account !== undefined) account.sessions--;
    session.onCounted?.(counters);
  }

  /** Makes a session a member of its account, which is made with its first session. */
  #hold(entry: Entry, owner: PlaneAccount): Promise<void> {
    let account = this.#accounts.get(owner.id);
    if (account === undefined) {
      const made: Account = {
        owner,
        sessions: 0,
        usedBytes: 0,
        idle: 0,
        ready: this.#relay.setAccount(owner.id, owner.limits),
      };
      made.ready.catch(() => {
        if (this.#accounts.get(owner.id) === made) this.#accounts.delete(owner.id);
      });
      this.#accounts.set(owner.id, made);
      account = made;
    }
    if (entry.account !== account) {
      entry.account = account;
      account.sessions++;
      account.idle = 0;
    }
    return account.ready;
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = this.#clock.timer(this.#intervalMs, () => {
      void this.#tick().then(() => {
        this.#timer = undefined;
        if (this.#accounts.size > 0 || this.#entries.size > 0) this.#arm();
      });
    });
  }

  async #tick(): Promise<void> {
    try {
      await this.readUsage();
      const keys = new Set([...this.#entries.values()].map(({ key }) => key));
      this.#present = new Map([...this.#relay.lastCounters()].filter(([key]) => keys.has(key)));
      await this.#removeIdle();
    } catch (error) {
      if (!this.#closed) this.#log.debug(`The kernel's counters were not read: ${errorMessage(error)}`);
    }
  }

  async #removeIdle(): Promise<void> {
    for (const [id, account] of this.#accounts) {
      if (account.sessions > 0 || ++account.idle < IDLE_INTERVALS) continue;
      this.#accounts.delete(id);
      await this.#relay.removeAccount(id);
    }
  }
}

function sum(a: SessionCounters, b: SessionCounters): SessionCounters {
  return {
    packetsFromA: a.packetsFromA + b.packetsFromA,
    bytesFromA: a.bytesFromA + b.bytesFromA,
    packetsFromB: a.packetsFromB + b.packetsFromB,
    bytesFromB: a.bytesFromB + b.bytesFromB,
  };
}

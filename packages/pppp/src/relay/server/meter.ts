import { nextIdleAt } from '@towpath/core';
import type { RelayCounters, RelayLimits } from './options.ts';

const DAY_MS = 86_400_000;

/** Usage of one client, all its sessions together. */
export interface ClientAccount {
  readonly ip: number;
  sessions: number;
  /** Bytes of the current day. */
  bytes: number;
  dayStartMs: number;
  /** State of its rate limit. */
  idleAtMs: number;
}

/** Accounts kept of clients without a session, so that a daily quota is kept between sessions. */
const MAX_RESTING_ACCOUNTS = 50_000;

/** Accounts for forwarded bytes with IP and UDP headers, of each client and in total. */
export class RelayMeter {
  readonly #limits: RelayLimits;
  readonly #counters: RelayCounters;
  readonly #accounts = new Map<number, ClientAccount>();
  #totalIdleAtMs = 0;
  #totalBytes = 0;
  #totalDayStartMs: number;

  constructor(limits: RelayLimits, counters: RelayCounters, nowMs: number) {
    this.#limits = limits;
    this.#counters = counters;
    this.#totalDayStartMs = nowMs;
  }

  get clients(): number {
    return this.#accounts.size;
  }

  /** Whether this client may reserve one more session. */
  mayOpen(ip: number): boolean {
    const account = this.#accounts.get(ip);
    return account === undefined || (account.sessions < this.#limits.sessionsPerClient && !this.isSpent(account));
  }

  /** Counts a new session to its client. */
  open(ip: number, nowMs: number): ClientAccount {
    let account = this.#accounts.get(ip);
    if (account === undefined) {
      account = { ip, sessions: 0, bytes: 0, dayStartMs: nowMs, idleAtMs: 0 };
      this.#accounts.set(ip, account);
    }
    account.sessions++;
    return account;
  }

  close(account: ClientAccount): void {
    account.sessions--;
  }

  /** Whether the daily quota is used up. */
  isSpent(account: ClientAccount): boolean {
    return account.bytes >= this.#limits.clientBytesPerDay || this.#totalBytes >= this.#limits.totalBytesPerDay;
  }

  /** Takes `bytes`, headers included, from rates and quotas; false: over one of them. */
  pass(account: ClientAccount, bytes: number, nowMs: number): boolean {
    // Its sessions end at the next sweep; until then much more than the quota could pass.
    if (this.isSpent(account)) {
      this.#counters.droppedOverQuota++;
      return false;
    }
    const idleAt = nextIdleAt(this.#limits.clientBytes, account.idleAtMs, nowMs, bytes);
    const totalIdleAt = nextIdleAt(this.#limits.totalBytes, this.#totalIdleAtMs, nowMs, bytes);
    if (idleAt < 0 || totalIdleAt < 0) {
      this.#counters.droppedOverRate++;
      return false;
    }
    account.idleAtMs = idleAt;
    this.#totalIdleAtMs = totalIdleAt;
    account.bytes += bytes;
    this.#totalBytes += bytes;
    return true;
  }

  /** Counts bytes that were forwarded elsewhere already, in rates and quotas. */
  spend(account: ClientAccount, bytes: number, nowMs: number): void {
    const { clientBytes, totalBytes } = this.#limits;
    account.idleAtMs = Math.max(account.idleAtMs, nowMs) + (1_000 * bytes) / clientBytes.perSecond;
    this.#totalIdleAtMs = Math.max(this.#totalIdleAtMs, nowMs) + (1_000 * bytes) / totalBytes.perSecond;
    account.bytes += bytes;
    this.#totalBytes += bytes;
  }

  /** Starts new days and removes clients without sessions and quota. */
  sweep(nowMs: number): void {
    if (nowMs - this.#totalDayStartMs >= DAY_MS) {
      this.#totalDayStartMs = nowMs;
      this.#totalBytes = 0;
    }
    for (const account of this.#accounts.values()) {
      if (nowMs - account.dayStartMs >= DAY_MS) {
        account.dayStartMs = nowMs;
        account.bytes = 0;
      }
      if (account.sessions > 0) continue;
      if (account.bytes === 0 || this.#accounts.size > MAX_RESTING_ACCOUNTS) this.#accounts.delete(account.ip);
    }
  }

  clear(): void {
    this.#accounts.clear();
  }
}

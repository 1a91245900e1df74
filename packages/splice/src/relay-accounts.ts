import type { ElementChange, ObjectChange } from './nft-commands.ts';
import { parseCounters } from './nft-output.ts';
import type { OwnedTables } from './owned-tables.ts';
import { DROP_COUNTERS, type EgressAccount, type RelayForm } from './relay-rules.ts';
import { count } from './values.ts';

/** Rate and bytes that sessions of one account share, both directions together. Counted with IP and UDP headers. */
export interface RelayAccount {
  readonly bytesPerSecond?: number;
  /** What may pass at once after a pause, beyond one second's worth, which the kernel always allows. @default 0 */
  readonly burstBytes?: number;
  /** What would exceed so many bytes is dropped. */
  readonly quotaBytes?: number;
}

/** What was forwarded for accounts, and dropped over their limits. Goes on when the tables are made again. */
export interface RelayUsage {
  /** Bytes of each account since it was set, with IP and UDP headers. */
  readonly bytes: ReadonlyMap<string, number>;
  readonly packetsOverRate: number;
  readonly packetsOverQuota: number;
}

interface Account {
  readonly objects: readonly ObjectChange[];
  readonly limit: string | undefined;
  quota: string | undefined;
  /** With IP and UDP headers. */
  usedBytes: number;
}

/** The accounts of a relay: a limit object where there is a rate, and a quota object where bytes are limited. */
export class RelayAccounts {
  readonly #tables: OwnedTables;
  readonly #family: RelayForm;
  readonly #accounts = new Map<string, Account>();
  #numbers = 0;
  readonly #dropped = { rate: 0, quota: 0 };

  constructor(tables: OwnedTables, form: RelayForm) {
    this.#tables = tables;
    this.#family = form;
  }

  has(id: string): boolean {
    return this.#accounts.has(id);
  }

  /** Which rules the sessions of an account need. */
  egressOf(id: string | undefined): EgressAccount {
    const account = id === undefined ? undefined : this.#accounts.get(id);
    return { limited: account?.limit !== undefined, bounded: account?.quota !== undefined };
  }

  /**
   * Creates or replaces an account.
   * @returns objects of the one before, to be removed when no element names them any more
   * @throws SpliceError
   */
  async set(id: string, { bytesPerSecond, burstBytes, quotaBytes }: RelayAccount): Promise<readonly ObjectChange[]> {
    const family = this.#family;
    const number = ++this.#numbers;
    const objects: ObjectChange[] = [];
    let limit: string | undefined;
    if (bytesPerSecond !== undefined && Number.isFinite(bytesPerSecond)) {
      limit = `l${number}`;
      const burst = burstBytes === undefined ? '' : ` burst ${count(burstBytes, 'a burst', 1)} bytes`;
      const definition = `rate over ${count(bytesPerSecond, 'a rate', 1)} bytes/second${burst}`;
      objects.push({ family, kind: 'limit', object: limit, definition });
    }
    const account: Account = { objects, limit, quota: undefined, usedBytes: 0 };
    if (quotaBytes !== undefined && Number.isFinite(quotaBytes)) {
      account.quota = `q${number}`;
      objects.push(quotaObject(family, account.quota, quotaBytes, account));
    }
    const before = this.#accounts.get(id);
    this.#accounts.set(id, account);
    if (objects.length > 0) await this.#tables.apply({ addObjects: objects });
    return before?.objects ?? [];
  }

  /** Removes an account that no session uses. @throws SpliceError */
  async remove(id: string): Promise<void> {
    const account = this.#accounts.get(id);
    if (account === undefined) return;
    this.#accounts.delete(id);
    if (account.objects.length > 0) await this.#tables.apply({ removeObjects: account.objects });
  }

  /** Elements that make a direction a member of an account. @param at the maps of limits and quotas, and its key in them */
  elements(id: string, at: { limits: string; quotas: string; key: string }): ElementChange[] {
    const account = this.#accounts.get(id);
    if (account === undefined) return [];
    const family = this.#family;
    const element = (map: string, object: string | undefined) =>
      object === undefined ? [] : [{ family, map, key: at.key, value: `"${object}"` }];
    return [...element(at.limits, account.limit), ...element(at.quotas, account.quota)];
  }

  /** Bytes of an account were forwarded, counted with headers. */
  spend(id: string, bytes: number): void {
    const account = this.#accounts.get(id);
    if (account !== undefined) account.usedBytes += bytes;
  }

  /** What {@link spend} was told, and what was dropped. @throws SpliceError */
  async usage(): Promise<RelayUsage> {
    const counters = await this.#tables.resetCounters(this.#family);
    const dropped = new Map(parseCounters(counters).map(({ name, packets }) => [name, packets]));
    this.#dropped.rate += dropped.get(DROP_COUNTERS.rate) ?? 0;
    this.#dropped.quota += dropped.get(DROP_COUNTERS.quota) ?? 0;
    return {
      bytes: new Map([...this.#accounts].map(([id, account]) => [id, account.usedBytes])),
      packetsOverRate: this.#dropped.rate,
      packetsOverQuota: this.#dropped.quota,
    };
  }
}

/** The quota of an account. When the tables are made again, it goes on with what is known to be used. */
function quotaObject(family: RelayForm, object: string, bytes: number, account: Account): ObjectChange {
  const over = `over ${count(bytes, 'a quota')} bytes`;
  return {
    family,
    kind: 'quota',
    object,
    get definition() {
      return account.usedBytes === 0 ? over : `${over} used ${count(account.usedBytes, 'used bytes')} bytes`;
    },
  };
}

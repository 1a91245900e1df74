import type { ElementChange, ObjectChange } from './nft-commands.ts';
import { parseObjects } from './nft-output.ts';
import type { OwnedTables } from './owned-tables.ts';
import { DROP_COUNTERS, type EgressAccount, type RelayForm } from './relay-rules.ts';
import { count } from './values.ts';

/** Rate and bytes that sessions of one account share, both directions together. Counted with IP and UDP headers. */
export interface RelayAccount {
  readonly bytesPerSecond?: number;
  /** What may pass at once after a pause, beyond one second's worth, which the kernel always allows. @default 0 */
  readonly burstBytes?: number;
  /** Bytes until nothing is forwarded any more. */
  readonly quotaBytes?: number;
}

/** What was forwarded for accounts, and dropped over their limits. */
export interface RelayUsage {
  /** Bytes of each account since it was set, with IP and UDP headers. */
  readonly bytes: ReadonlyMap<string, number>;
  readonly packetsOverRate: number;
  readonly packetsOverQuota: number;
}

interface Account {
  readonly objects: readonly ObjectChange[];
  readonly limit: string | undefined;
  readonly quota: string;
}

/** A quota that is never reached counts bytes. */
const COUNT_ONLY_BYTES = Number.MAX_SAFE_INTEGER;

/** The accounts of a relay: a limit object where there is a rate, and a quota object, which also counts. */
export class RelayAccounts {
  readonly #tables: OwnedTables;
  readonly #family: RelayForm;
  readonly #accounts = new Map<string, Account>();
  #numbers = 0;

  constructor(tables: OwnedTables, family: RelayForm) {
    this.#tables = tables;
    this.#family = family;
  }

  has(id: string): boolean {
    return this.#accounts.has(id);
  }

  /** Which rules the sessions of an account need. */
  egressOf(id: string | undefined): EgressAccount {
    const account = id === undefined ? undefined : this.#accounts.get(id);
    return { limited: account?.limit !== undefined, counted: account !== undefined };
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
    const quota = `q${number}`;
    const bytes = quotaBytes !== undefined && Number.isFinite(quotaBytes) ? quotaBytes : COUNT_ONLY_BYTES;
    objects.push({ family, kind: 'quota', object: quota, definition: `over ${count(bytes, 'a quota')} bytes` });
    const before = this.#accounts.get(id);
    this.#accounts.set(id, { objects, limit, quota });
    await this.#tables.apply({ addObjects: objects });
    return before?.objects ?? [];
  }

  /** Removes an account that no session uses. @throws SpliceError */
  async remove(id: string): Promise<void> {
    const account = this.#accounts.get(id);
    if (account === undefined) return;
    this.#accounts.delete(id);
    await this.#tables.apply({ removeObjects: account.objects });
  }

  /** Elements that make a mark a member of an account. */
  elements(id: string, mark: string): ElementChange[] {
    const account = this.#accounts.get(id);
    if (account === undefined) return [];
    const family = this.#family;
    const quota = { family, map: 'quotas', key: mark, value: `"${account.quota}"` };
    if (account.limit === undefined) return [quota];
    return [{ family, map: 'limits', key: mark, value: `"${account.limit}"` }, quota];
  }

  /** @throws SpliceError */
  async usage(): Promise<RelayUsage> {
    const quotas = await this.#tables.list(this.#family, 'quotas');
    const counters = await this.#tables.list(this.#family, 'counters');
    const used = new Map(parseObjects(quotas, 'quota').map(({ name, value }) => [name, value]));
    const dropped = new Map(parseObjects(counters, 'counter').map(({ name, value }) => [name, value]));
    return {
      bytes: new Map([...this.#accounts].map(([id, { quota }]) => [id, used.get(quota) ?? 0])),
      packetsOverRate: dropped.get(DROP_COUNTERS.rate) ?? 0,
      packetsOverQuota: dropped.get(DROP_COUNTERS.quota) ?? 0,
    };
  }
}

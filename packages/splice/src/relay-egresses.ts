import type { ObjectChange } from './nft-commands.ts';
import type { OwnedTables } from './owned-tables.ts';
import type { FormRules } from './relay-form.ts';
import { COUNTER_MAPS, counterMap, type Egress } from './relay-rules.ts';
import type { Route } from './routes.ts';
import { SpliceError } from './splice-error.ts';
import { address } from './values.ts';

/** What sessions have in common that leave by the same chains. */
export interface EgressGroup extends Omit<Egress, 'counterMap' | 'hop'> {
  /** Absent in the form that leaves this to the host. */
  readonly route: Route | undefined;
}

interface Chains {
  /** By counter map. */
  readonly names: readonly string[];
  readonly made: Promise<unknown>;
}

/** Next hops, times kinds of accounts. */
const MAX_GROUPS = 256;

/** The chains that sessions leave by. */
export class RelayEgresses {
  readonly #tables: OwnedTables;
  readonly #rules: FormRules;
  readonly #totalBytesPerSecond: number | undefined;
  readonly #groups = new Map<string, Chains>();

  constructor(tables: OwnedTables, rules: FormRules, totalBytesPerSecond: number | undefined) {
    this.#tables = tables;
    this.#rules = rules;
    this.#totalBytesPerSecond = totalBytesPerSecond;
  }

  /**
   * Returns the chain of a session's number. Those of all counter maps are made together, so that only the first session of a
   * group waits for them.
   * @throws SpliceError `no-route` when there are too many, or nft refuses it
   */
  async chain({ route, ...group }: EgressGroup, number: number): Promise<string> {
    const { ip, source, account } = group;
    const hop = route && hopOf(ip, route);
    const definitionOf = (map: string) =>
      this.#rules.egressRules({ ...group, hop, counterMap: map }, this.#totalBytesPerSecond);
    const map = number % COUNTER_MAPS;
    const key = `${ip} ${source} ${hop} ${account.limited} ${account.bounded}`;
    let chains = this.#groups.get(key);
    if (chains === undefined) {
      if (this.#groups.size >= MAX_GROUPS) throw new SpliceError('no-route', 'Too many next hops are in use.');
      const first = this.#groups.size * COUNTER_MAPS + 1;
      const objects = Array.from({ length: COUNTER_MAPS }, (_, at): ObjectChange => {
        const definition = definitionOf(counterMap(at));
        return { family: this.#rules.form, kind: 'chain', object: `e${first + at}`, definition };
      });
      chains = { names: objects.map(({ object }) => object), made: this.#tables.apply({ addObjects: objects }) };
      this.#groups.set(key, chains);
      chains.made.catch(() => this.#groups.delete(key));
    }
    await chains.made;
    return chains.names[map]!;
  }
}

/** The `fwd` statement. */
function hopOf(family: 4 | 6, { device, gateway }: Route): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  return `fwd ${ip} to ${gateway === undefined ? `${ip} daddr` : address(gateway)} device "${device}"`;
}

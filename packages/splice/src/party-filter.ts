import { Mutex } from '@towpath/core';
import type { ElementChange, ObjectChange } from './nft-commands.ts';
import { parseCounters } from './nft-output.ts';
import { OwnedTables, type TablesComponents, type TablesDefinition, type TablesOptions } from './owned-tables.ts';
import { OwnedRules } from './owned-rules.ts';
import type { Prefix } from './prefix-translation.ts';
import { address, device, network } from './values.ts';

export interface PartyFilterOptions extends Partial<Omit<TablesOptions, 'prefix' | 'instance'>> {
  /** The party's interface. */
  interfaceName: string;
  /** How the names of the interfaces of all parties begin. */
  interfacePrefix: string;
  /** Lower-case letters and digits, different for each interface. */
  instance: string;
  /** This machine's virtual address. */
  address: string;
  /** The party's network as this machine sees it. */
  network: Prefix;
  /**
   * Members may reach what {@link PartyFilter.setOffers} names, with this machine's address as the source. This needs
   * connection tracking, which the other rules do without. @default false
   */
  gateway?: boolean;
}

/** A network beside this machine that members may reach. */
export interface FilterOffer extends Prefix {
  /** Addresses of the members that may. @default all */
  readonly from?: readonly string[] | undefined;
}

/** Packets that were dropped, by reason. */
export interface FilterCounts {
  /** For this machine's virtual address, from another interface. */
  readonly strangers: number;
  /** With the address of a member, or of an accepted network, as the source, from another interface. */
  readonly forged: number;
  /** From members to a network that is not offered to them. */
  readonly notOffered: number;
  /** From other networks and other parties to members. */
  readonly intoParty: number;
}

const NONE: FilterCounts = { strangers: 0, forged: 0, notOffered: 0, intoParty: 0 };
/** Multicast, and the broadcast that no router forwards. */
const GROUPS = ['224.0.0.0/4', '255.255.255.255'];

/**
 * Keeps a party apart from the machine's other networks and parties (docs/daemon.md, "What the machine lets through"): Linux
 * by itself accepts its addresses on every interface, and once it forwards it forwards between all of them.
 *
 * A gateway forwards what is offered, with its own address as the source: the devices there need no route to members, and
 * cannot open connections to them.
 *
 * The rules compare addresses inside the tunnel, and stand behind those of the splice and of prefix translation: WireGuard's own
 * packets pass. Where nothing is offered they keep no state, so that they do not switch on connection tracking.
 */
export class PartyFilter extends OwnedRules {
  readonly #interface: string;
  readonly #network: string;
  readonly #gateway: boolean;
  readonly #mutex = new Mutex();
  /** What the offers consist of now. */
  #offers: OfferRules = { chains: [], elements: [] };
  #chains = 0;
  #counts = NONE;

  /**
   * Begins to drop; the rules are made again when somebody removes them.
   * @throws SpliceError `nft-missing`, `not-permitted`, `not-supported`, `nft-rejected`, `nft-timeout`, `invalid-value`
   */
  static async open(components: TablesComponents, options: PartyFilterOptions): Promise<PartyFilter> {
    const { interfaceName, interfacePrefix, address: own, network: all, gateway = false, ...tables } = options;
    const quoted = device(interfaceName);
    const virtual = network(all);
    const local = [address(own), ...rangeOf(virtual).map(dotted)].join(', ');
    const names = { party: quoted, parties: device(`${interfacePrefix}x`).replace('x"', '*"') };
    const filter = new PartyFilter(
      await OwnedTables.open(components, definition({ ...names, local, gateway }), {
        ...tables,
        prefix: 'towpath-filter',
      }),
      { party: quoted, network: virtual, gateway },
    );
    try {
      await filter.setNetworks([]);
      return filter;
    } catch (error) {
      filter.close();
      throw error;
    }
  }

  private constructor(tables: OwnedTables, of: { party: string; network: string; gateway: boolean }) {
    super(tables);
    this.#interface = of.party;
    this.#network = of.network;
    this.#gateway = of.gateway;
  }

  /**
   * Sets the accepted networks: their addresses are not believed on another interface while the kernel's route to them leads into
   * the tunnel. Networks of less than 8 bits are left out.
   * @throws SpliceError
   */
  async setNetworks(networks: readonly Prefix[]): Promise<void> {
    using _turn = await this.#mutex.acquire();
    const accepted = networks.filter((each) => each.prefixLength >= MIN_BITS && !each.address.includes(':'));
    const wanted = new Set([this.#network, ...accepted.map(network)]);
    for (const part of wanted) {
      // The kernel refuses a part of what a set has already.
      if ([...wanted].some((whole) => whole !== part && contains(whole, part))) wanted.delete(part);
    }
    const before = this.tables.confirmed(NETWORKS);
    const remove = [...before.values()].filter(({ key }) => !wanted.has(key));
    const add = [...wanted].filter((key) => !before.has(key)).map((key): ElementChange => ({ ...NETWORKS, key }));
    if (remove.length + add.length > 0) await this.tables.apply({ remove, add });
  }

  /** Sets what members may reach beside this machine, in one step. @throws SpliceError */
  async setOffers(offers: readonly FilterOffer[]): Promise<void> {
    using _turn = await this.#mutex.acquire();
    const matches = offers.flatMap((offer) => {
      const from = offer.from?.map(address) ?? [this.#network];
      return from.length === 0 ? [] : [`ip saddr { ${from.join(', ')} } ip daddr ${network(offer)}`];
    });
    const before = this.#offers;
    const after = matches.length > 0 ? this.#rulesOf(matches) : { chains: [], elements: [] };
    if (before.chains.length + after.chains.length === 0) return;
    await this.tables.apply({
      remove: before.elements,
      removeObjects: before.chains,
      addObjects: after.chains,
      add: after.elements,
    });
    this.#offers = after;
  }

  #rulesOf(matches: readonly string[]): OfferRules {
    const number = ++this.#chains;
    const chain = (name: string, verdict: string): ObjectChange => ({
      family: 'ip',
      kind: 'chain',
      object: `${name}_${number}`,
      definition: matches.map((match) => `${match} ${verdict}`).join('\n'),
    });
    const accepted = chain('offers', 'accept');
    const offers = { ...OFFERS, key: this.#interface, value: `jump ${accepted.object}` };
    if (!this.#gateway) return { chains: [accepted], elements: [offers] };
    const translated = chain('sources', 'masquerade');
    const sources = { ...SOURCES, key: this.#network, value: `jump ${translated.object}` };
    return { chains: [accepted, translated], elements: [offers, sources] };
  }

  /**
   * Reads what was dropped since {@link open}. What was dropped between a reading and the end of rules that were made again is
   * missing. @throws SpliceError
   */
  async counts(): Promise<FilterCounts> {
    const read = new Map(
      parseCounters(await this.tables.resetCounters('ip')).map(({ name, packets }) => [name, packets]),
    );
    const before = this.#counts;
    this.#counts = {
      strangers: before.strangers + (read.get('strangers') ?? 0),
      forged: before.forged + (read.get('forged') ?? 0),
      notOffered: before.notOffered + (read.get('not_offered') ?? 0),
      intoParty: before.intoParty + (read.get('into_party') ?? 0),
    };
    return this.#counts;
  }
}

const NETWORKS = { family: 'ip', map: 'networks' } as const;
const OFFERS = { family: 'ip', map: 'offers' } as const;
const SOURCES = { family: 'ip', map: 'sources' } as const;
/** A route for more is a default route: its packets come from everywhere. */
const MIN_BITS = 8;

interface OfferRules {
  readonly chains: readonly ObjectChange[];
  readonly elements: readonly ElementChange[];
}

interface Names {
  /** The party's interface, quoted, and the pattern of all parties' interfaces. */
  readonly party: string;
  readonly parties: string;
  /** Addresses of the party that this machine receives: its own and the broadcasts. */
  readonly local: string;
  readonly gateway: boolean;
}

function definition({ party, parties, local, gateway }: Names): TablesDefinition {
  const drop = (counter: string) => `counter name ${counter} drop`;
  return {
    families: ['ip'],
    commands: (_family, table) => [
      ...['strangers', 'forged', 'not_offered', 'into_party'].map((each) => `add counter ip ${table} ${each}`),
      `add set ip ${table} networks { type ipv4_addr; flags interval; }`,
      `add map ip ${table} offers { type ifname : verdict; }`,
      // Behind prefix translation (-320), forwarded broadcasts (-310) and the splice (-300), before conntrack (-200) and
      // destination NAT (-100): ports that the machine publishes on its virtual address stay open.
      `add chain ip ${table} pre { type filter hook prerouting priority -290; policy accept; }`,
      `add chain ip ${table} members`,
      `add chain ip ${table} forward { type filter hook forward priority -10; policy accept; }`,
      // After source NAT (100), before the splice (300) and prefix translation (310).
      `add chain ip ${table} post { type filter hook postrouting priority 290; policy accept; }`,

      `add rule ip ${table} pre iifname "lo" accept`,
      `add rule ip ${table} pre iifname ${party} goto members`,
      `add rule ip ${table} pre ip daddr { ${local} } ${drop('strangers')}`,
      // A network of the machine that has come since, with a route of its own, keeps its addresses.
      `add rule ip ${table} pre ip saddr @networks fib saddr oifname ${party} ${drop('forged')}`,
      `add rule ip ${table} members ip daddr { ${[local, ...GROUPS].join(', ')} } accept`,
      `add rule ip ${table} members iifname vmap @offers`,
      `add rule ip ${table} members ${drop('not_offered')}`,
      // An offer that contains another party's network, and multicast routers.
      `add rule ip ${table} forward iifname ${parties} oifname ${party} ${drop('into_party')}`,
      `add rule ip ${table} forward iifname ${party} ip daddr 224.0.0.0/4 ${drop('not_offered')}`,
      ...(gateway ? gatewayCommands(table, party) : []),
      // What this machine sends, and what its own NAT rules send in its name, has one of its addresses.
      `add rule ip ${table} post oifname ${party} fib saddr type != local ${drop('into_party')}`,
    ],
    chains: () => ['pre', 'forward', 'post', ...(gateway ? ['source_nat'] : [])].map((chain) => ({ chain })),
  };
}

/** Forwards what is offered and its replies, also where destination NAT has changed the address since `pre`. */
function gatewayCommands(table: string, party: string): string[] {
  return [
    `add map ip ${table} sources { type ipv4_addr : verdict; flags interval; }`,
    `add chain ip ${table} source_nat { type nat hook postrouting priority 100; policy accept; }`,
    `add rule ip ${table} forward iifname vmap @offers`,
    `add rule ip ${table} forward iifname ${party} counter name not_offered drop`,
    `add rule ip ${table} forward oifname ${party} ct state established,related accept`,
    `add rule ip ${table} forward oifname ${party} counter name into_party drop`,
    `add rule ip ${table} source_nat oifname != ${party} ip saddr vmap @sources`,
    `add rule ip ${table} post oifname ${party} ct state established,related accept`,
  ];
}

function contains(outer: string, inner: string): boolean {
  const [outerStart, outerEnd] = rangeOf(outer);
  const [innerStart, innerEnd] = rangeOf(inner);
  return outerStart <= innerStart && innerEnd <= outerEnd;
}

/** The first and last address of a network, as numbers. */
function rangeOf(text: string): [number, number] {
  const [start = '', bits] = text.split('/');
  const hosts = 2 ** (32 - Number(bits));
  const given = start.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
  const first = given - (given % hosts);
  return [first, first + hosts - 1];
}

function dotted(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

import type { ElementChange } from './nft-commands.ts';
import { OwnedTables, type TablesComponents, type TablesDefinition, type TablesOptions } from './owned-tables.ts';
import { OwnedRules } from './owned-rules.ts';
import { address, type Endpoint, family, type IpFamily, port } from './values.ts';

export interface HostSpliceOptions extends Partial<Omit<TablesOptions, 'prefix'>> {
  /** UDP port that WireGuard listens on. */
  wireguardPort: number;
}

/** A peer's direct address, and the port of the path socket that it is reached from. */
export interface SplicedPeer extends Endpoint {
  readonly pathPort: number;
}

/** Packets that the two rules have rewritten for one peer since it was added to them. */
export interface SpliceCounters {
  readonly inPackets: number;
  readonly inBytes: number;
  readonly outPackets: number;
  readonly outBytes: number;
}

const TYPES = { 4: ['ip', 'ipv4_addr'], 6: ['ip6', 'ipv6_addr'] } as const;
const NO_TRAFFIC: SpliceCounters = { inPackets: 0, inBytes: 0, outPackets: 0, outBytes: 0 };
const MAX_PEERS = 65_536;
/** WireGuard's four message types, with the three reserved bytes. */
const WIREGUARD_TYPES = '{ 0x01000000, 0x02000000, 0x03000000, 0x04000000 }';

/**
 * Lets the kernel rewrite ports between a path socket's port, which peers see, and WireGuard's own (docs/protocol/connectivity.md,
 * "Data plane"). Data packets of peers in it touch no user space; STUN on the same addresses still reaches the path socket.
 *
 * Moving a peer without loss: {@link addOut}, set WireGuard's endpoint to the peer's address and send, see
 * {@link counters} move, {@link addIn}. Back: {@link removeIn}, see the endpoint on the loopback port, {@link removeOut}.
 * Peers must be back before {@link close}.
 */
export class HostSplice extends OwnedRules {
  /**
   * Makes the tables.
   * @throws SpliceError `nft-missing`, `not-permitted`, `not-supported`, `nft-rejected`, `nft-timeout`
   */
  static async open(components: TablesComponents, options: HostSpliceOptions): Promise<HostSplice> {
    const { wireguardPort, ...tables } = options;
    return new HostSplice(
      await OwnedTables.open(components, definition(port(wireguardPort)), {
        instance: randomInstance(components),
        ...tables,
        prefix: 'towpath-splice',
      }),
    );
  }

  /** Whether a peer is in the first rule (`in`) and the second (`out`). */
  state(peer: SplicedPeer): { in: boolean; out: boolean } {
    const inbound = inElement(peer);
    const outbound = outElement(peer);
    return {
      in: this.tables.confirmed(inbound).has(inbound.key),
      out: this.tables.confirmed(outbound).get(outbound.key)?.value === outbound.value,
    };
  }

  /**
   * Rewrites what WireGuard sends to this address: it leaves from the path port. Replaces another path port.
   * @throws SpliceError
   */
  async addOut(peer: SplicedPeer): Promise<void> {
    const element = outElement(peer);
    const before = this.tables.confirmed(element).get(element.key);
    if (before?.value === element.value) return;
    await this.tables.apply({ remove: before === undefined ? [] : [before], add: [element] });
  }

  /** Hands WireGuard what comes from this address to the path port. @throws SpliceError */
  async addIn(peer: SplicedPeer): Promise<void> {
    const element = inElement(peer);
    if (!this.tables.confirmed(element).has(element.key)) await this.tables.apply({ add: [element] });
  }

  /** Leaves what comes from this address to the path socket. @throws SpliceError */
  async removeIn(peer: SplicedPeer): Promise<void> {
    const element = inElement(peer);
    if (this.tables.confirmed(element).has(element.key)) await this.tables.apply({ remove: [element] });
  }

  /** Leaves what WireGuard sends to this address as it is. @throws SpliceError */
  async removeOut(peer: SplicedPeer): Promise<void> {
    const element = outElement(peer);
    if (this.tables.confirmed(element).has(element.key)) await this.tables.apply({ remove: [element] });
  }

  /** Reads one peer's counters; zeros for rules that it is not in. @throws SpliceError */
  async counters(peer: SplicedPeer): Promise<SpliceCounters> {
    const [inbound, outbound] = [inElement(peer), outElement(peer)];
    const wanted = [inbound, outbound].filter((each) => this.tables.confirmed(each).has(each.key));
    if (wanted.length === 0) return NO_TRAFFIC;
    const read = await this.tables.apply({ readBefore: wanted });
    const [first, second] = [inbound, outbound].map(({ key }) => read.find((each) => each.key === key));
    return {
      inPackets: first?.packets ?? 0,
      inBytes: first?.bytes ?? 0,
      outPackets: second?.packets ?? 0,
      outBytes: second?.bytes ?? 0,
    };
  }
}

/** Returns eight random lower-case hexadecimal digits. */
export function randomInstance({ random }: Pick<TablesComponents, 'random'>): string {
  return Buffer.from(random.bytes(4)).toString('hex');
}

function inElement(peer: SplicedPeer): ElementChange {
  const from = address(peer.address);
  const [table] = TYPES[family(from)];
  return { family: table, map: 'in_peers', key: `${from} . ${port(peer.port)} . ${port(peer.pathPort)}` };
}

function outElement(peer: SplicedPeer): ElementChange {
  const to = address(peer.address);
  const [table] = TYPES[family(to)];
  return { family: table, map: 'out_peers', key: `${to} . ${port(peer.port)}`, value: port(peer.pathPort) };
}

function definition(wireguardPort: string): TablesDefinition {
  return {
    families: ['ip', 'ip6'],
    commands: (table, named) => {
      const [, type] = TYPES[table === 'ip6' ? 6 : (4 satisfies IpFamily)];
      return [
        `add set ${table} ${named} in_peers { type ${type} . inet_service . inet_service; size ${MAX_PEERS}; counter; }`,
        `add map ${table} ${named} out_peers { type ${type} . inet_service : inet_service; size ${MAX_PEERS}; counter; }`,
        // Before conntrack (-200), so that it sees one flow on WireGuard's port in both directions …
        `add chain ${table} ${named} pre { type filter hook prerouting priority -300; policy accept; }`,
        // … and after source NAT (100).
        `add chain ${table} ${named} post { type filter hook postrouting priority 300; policy accept; }`,
        `add rule ${table} ${named} pre @th,64,32 ${WIREGUARD_TYPES} ${table} saddr . udp sport . udp dport @in_peers udp dport set ${wireguardPort}`,
        `add rule ${table} ${named} post udp sport ${wireguardPort} udp sport set ${table} daddr . udp dport map @out_peers`,
      ];
    },
    chains: () => [{ chain: 'pre' }, { chain: 'post' }],
  };
}

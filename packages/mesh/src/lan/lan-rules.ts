import { isIpAddress } from '@towpath/net';

/** What the rules of one party's broadcast forwarding are made of. */
export interface LanRulesOptions {
  /** Of the nftables table: `towpath-lan-0123456789`. */
  table: string;
  /** The WireGuard interface. */
  interfaceName: string;
  /** Own virtual address. */
  address: string;
  /** Directed broadcast address of the party's network, `10.66.255.255`. */
  broadcast: string;
  /** Virtual addresses of the members that get copies; at most {@link MAX_RECEIVERS} are used. */
  receivers: readonly string[];
  /** Multicast groups that are forwarded besides broadcasts. @default mDNS and SSDP */
  groups?: readonly string[];
  /** Datagrams that this node forwards per second, each to all receivers. @default 50 */
  perSecond?: number;
}

/** mDNS (RFC 6762) and SSDP (UPnP). */
export const DEFAULT_GROUPS: readonly string[] = ['224.0.0.251', '239.255.255.250'];
/** One datagram is sent this many times at most. */
export const MAX_RECEIVERS = 64;
const MAX_GROUPS = 8;
const DEFAULT_PER_SECOND = 50;
/** Marks of copies: the upper 16 bits, and the receiver's number in the lower. */
const MARK = 0x5450_0000;
/**
 * Copies travel as unicast and tell by their DSCP which destination the original had: 40 and up, of the pool for local use
 * (RFC 2474 §6).
 */
const FIRST_DSCP = 41;
/** The same datagram sent on several interfaces within this time is forwarded once. */
const SAME_WITHIN_MS = 50;

/**
 * Returns the nftables rules that forward broadcasts and multicasts of this machine's programs to the members, and hand
 * those of the members to this machine's programs. Sources keep their port and have the sender's virtual address.
 *
 * Loops are impossible: only what a program of this machine sends is copied, never what arrives. What arrives is limited as
 * well, for each member: one that makes copies itself keeps to no limit of its own.
 * @throws RangeError when an address is none: a mistake of the caller.
 */
export function lanRules(options: LanRulesOptions): string {
  const { table, interfaceName, address, broadcast, perSecond = DEFAULT_PER_SECOND } = options;
  const receivers = options.receivers.slice(0, MAX_RECEIVERS).map(checked);
  const destinations = ['255.255.255.255', broadcast, ...(options.groups ?? DEFAULT_GROUPS).slice(0, MAX_GROUPS)];
  const elements = (list: readonly string[]) => (list.length === 0 ? '' : `elements = { ${list.join(', ')} };`);
  const marks = receivers.map((receiver, at) => `${hex(MARK + at + 1)} : ${receiver}`);
  return `
table ip ${table}
delete table ip ${table}
table ip ${table} {
  map receivers { type mark : ipv4_addr; ${elements(marks)} }
  set seen { typeof ip daddr . udp sport . udp dport . udp length; flags dynamic,timeout; timeout 1s; size 1024; }
  set heard { type ipv4_addr; flags dynamic,timeout; timeout 10s; size 1024; }
  chain sent {
    type filter hook output priority 300; policy accept;
    oifname "${interfaceName}" meta mark and 0xffff0000 == ${hex(MARK)} jump copied
    ip daddr { ${destinations.join(', ')} } meta l4proto udp meta mark 0 goto original
  }
  chain original {
    ip daddr . udp sport . udp dport . udp length @seen return
    add @seen { ip daddr . udp sport . udp dport . udp length timeout ${SAME_WITHIN_MS}ms }
    limit rate over ${perSecond}/second burst ${perSecond * 2} packets return
${receivers.map((receiver, at) => `    meta mark set ${hex(MARK + at + 1)} dup to ${receiver} device "${interfaceName}"`).join('\n')}
    meta mark set 0
  }
  chain copied {
${destinations.map((to, at) => `    ip daddr ${checked(to)} ip dscp set ${FIRST_DSCP + at}`).join('\n')}
    ip saddr set ${checked(address)}
    ip daddr set meta mark map @receivers
    meta mark set 0
  }
  chain received {
    type filter hook prerouting priority -310; policy accept;
    iifname "${interfaceName}" ip daddr ${address} meta l4proto udp goto restored
  }
  chain restored {
    ip dscp ${FIRST_DSCP}-${FIRST_DSCP + destinations.length - 1} update @heard { ip saddr limit rate over ${2 * perSecond}/second burst ${4 * perSecond} packets } drop
${destinations.map((to, at) => `    ip dscp ${FIRST_DSCP + at} ip dscp set 0 ip daddr set ${to} return`).join('\n')}
  }
}
`;
}

/**
 * Returns rules that drop the originals behind the interface's output: WireGuard has no peer for them, and the kernel's
 * would report an error to the sending program. Needs Linux 5.16.
 */
export function lanEgressRules({ table, interfaceName, broadcast, groups = DEFAULT_GROUPS }: LanRulesOptions): string {
  const destinations = ['255.255.255.255', broadcast, ...groups.slice(0, MAX_GROUPS)].map(checked);
  return `
table netdev ${table}
delete table netdev ${table}
table netdev ${table} {
  chain originals {
    type filter hook egress device "${interfaceName}" priority 0; policy accept;
    ip daddr { ${destinations.join(', ')} } drop
  }
}
`;
}

function checked(address: string): string {
  if (!isIpAddress(address) || address.includes(':')) throw new RangeError('An IPv4 address is needed.');
  return address;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

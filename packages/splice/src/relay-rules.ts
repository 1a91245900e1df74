import type { TablesDefinition } from './owned-tables.ts';
import { count, device } from './values.ts';

/**
 * How packets get from one side to the other. `netdev`: at the ingress of the device, past conntrack, routing and the
 * host's FORWARD rules. `inet`: at prerouting and postrouting; the host must forward.
 */
export type RelayForm = 'netdev' | 'inet';

/** Bytes of a UDP payload that are compared. */
export interface PayloadPart {
  readonly offsetBytes: number;
  readonly lengthBytes: 1 | 2 | 4;
  /** Bits that are compared. @default all */
  readonly mask?: number;
  /** One of these, big-endian. */
  readonly values: readonly number[];
}

/** All parts must match. */
export type PayloadPattern = readonly PayloadPart[];

/** STUN messages (RFC 8489 §5): two zero bits and the magic cookie. */
export const STUN_PATTERN: PayloadPattern = [
  { offsetBytes: 0, lengthBytes: 1, mask: 0xc0, values: [0] },
  { offsetBytes: 4, lengthBytes: 4, values: [0x2112a442] },
];

/** What the rules are made for. */
export interface RelayRules {
  form: RelayForm;
  /** Devices that sessions' packets arrive on; of `netdev`. */
  devices: readonly string[];
  /** Payloads that are left to the server's socket. */
  control: readonly PayloadPattern[];
  /** When given, only these payloads are forwarded; all others are left to the server's socket. */
  data?: readonly PayloadPattern[] | undefined;
  /** Larger payloads are left to the server's socket. */
  maxPayloadBytes?: number | undefined;
  /** Rate that all sessions share, bytes per second with IP and UDP headers. */
  totalBytesPerSecond?: number | undefined;
  maxSessions: number;
}

/**
 * Sessions are spread over so many maps with counters: nft reads a map as a whole, and makes no change meanwhile, so that a
 * move waits for a thirty-second of the counters at most.
 */
export const COUNTER_MAPS = 32;

/** Name of the map with counters that a session of this number is in. */
export function counterMap(number: number): string {
  return `from_port${number % COUNTER_MAPS}`;
}

/** Counters of packets that were dropped because an account has used up its rate or its bytes. */
export const DROP_COUNTERS = { rate: 'over_rate', quota: 'over_quota' } as const;

const TYPES = { 4: ['ip', 'ipv4_addr'], 6: ['ip6', 'ipv6_addr'] } as const;

/** Each session has two marks, one for each direction. Data of a direction is found by its mark alone. */
export function relayDefinition(rules: RelayRules): TablesDefinition {
  const { form, devices } = rules;
  return {
    families: [form],
    commands: (family, table) => {
      const at = `${family} ${table}`;
      const chains = form === 'netdev' ? ingress(at, rules) : routing(at, rules);
      return [...maps(at, rules), ...objects(at, rules), ...chains];
    },
    chains: () => (form === 'netdev' ? [{ chain: 'in', devices }] : [{ chain: 'pre' }, { chain: 'post' }]),
  };
}

function maps(at: string, { form, maxSessions }: RelayRules): string[] {
  const size = count(2 * maxSessions, 'a number of sessions', 1);
  // Numbers of sessions are dense; twice as many elements have room, because those on the way out still have theirs.
  const share = count(4 * Math.ceil(maxSessions / COUNTER_MAPS), 'a number of sessions', 1);
  const perFamily = Object.entries(TYPES).flatMap(([number, [, type]]) => {
    const tuple = `${type} . inet_service . ${type} . inet_service`;
    return [
      `add map ${at} sessions${number} { type ${tuple} : mark; size ${size}; }`,
      `add map ${at} to_addr${number} { type mark : ${type}; size ${size}; }`,
      ...(form === 'inet' ? [`add map ${at} routed${number} { type ${tuple} : mark; size ${size}; }`] : []),
    ];
  });
  return [
    ...perFamily,
    `add map ${at} to_port { type mark : inet_service; size ${size}; }`,
    ...Array.from(
      { length: COUNTER_MAPS },
      (_, number) => `add map ${at} ${counterMap(number)} { type mark : inet_service; size ${share}; counter; }`,
    ),
    `add map ${at} limits { type mark : limit; size ${size}; }`,
    `add map ${at} quotas { type mark : quota; size ${size}; }`,
    `add map ${at} egress { type mark : verdict; size ${size}; }`,
  ];
}

function objects(at: string, { totalBytesPerSecond }: RelayRules): string[] {
  const counters = Object.values(DROP_COUNTERS).map((each) => `add counter ${at} ${each}`);
  if (totalBytesPerSecond === undefined) return counters;
  const rate = `rate over ${count(totalBytesPerSecond, 'a rate', 1)} bytes/second`;
  return [...counters, `add limit ${at} total { ${rate}; }`];
}

/** What is dropped before anything is rewritten. `account`: only the rules that its sessions need; absent: all. */
function limits(totalBytesPerSecond: number | undefined, account?: EgressAccount): string[] {
  const overRate = `counter name "${DROP_COUNTERS.rate}" drop`;
  const quota = `quota name meta mark map @quotas counter name "${DROP_COUNTERS.quota}" drop`;
  return [
    ...(account === undefined || account.limited ? [`limit name meta mark map @limits ${overRate}`] : []),
    ...(totalBytesPerSecond === undefined ? [] : [`limit name "total" ${overRate}`]),
    ...(account === undefined || account.bounded ? [quota] : []),
  ];
}

/** Whether sessions have a rate, and a limit of bytes. */
export interface EgressAccount {
  readonly limited: boolean;
  readonly bounded: boolean;
}

/** What sessions have in common that leave by one chain. */
export interface Egress {
  readonly family: 'ip' | 'ip6';
  /** Source of the packets. */
  readonly source: string;
  /** `fwd` statement of the `netdev` form. */
  readonly hop: string | undefined;
  readonly counterMap: string;
  readonly account: EgressAccount;
}

/**
 * Returns the rules of a chain that sessions leave by, in lines. One rule rewrites all: each further one, and each look-up, costs
 * every packet.
 */
export function egressRules(egress: Egress, totalBytesPerSecond: number | undefined): string {
  const { family, source, hop, counterMap: map, account } = egress;
  const from = `udp sport set meta mark map @${map} meta mark set 0 ${family} saddr set ${source}`;
  if (hop === undefined) return from;
  const to = `${family} daddr set meta mark map @to_addr${family === 'ip' ? 4 : 6} udp dport set meta mark map @to_port`;
  return [...limits(totalBytesPerSecond, account), `${to} ${from} ${hop}`].join('\n');
}

/** Fragments have no ports of their own: they are left to the host, which puts them together for the server. */
const WHOLE = { 4: 'ip frag-off & 0x3fff == 0', 6: '' };

const FAMILIES = Object.entries(TYPES).map(([number, [ip]]) => ({ number: Number(number) as 4 | 6, ip }));

function ingress(at: string, rules: RelayRules): string[] {
  const devices = rules.devices.map(device).join(', ');
  const hook = `type filter hook ingress devices = { ${devices} } priority -300; policy accept;`;
  return [`add chain ${at} in { ${hook} }`, ...entry(at, 'in', rules, () => 'meta mark vmap @egress')];
}

function routing(at: string, rules: RelayRules): string[] {
  return [
    `add chain ${at} pre { type filter hook prerouting priority -300; policy accept; }`,
    `add chain ${at} post { type filter hook postrouting priority 300; policy accept; }`,
    ...FAMILIES.flatMap(({ number, ip }) => [
      `add chain ${at} v${number}`,
      ...limits(rules.totalBytesPerSecond).map((rule) => `add rule ${at} v${number} ${rule}`),
      `add rule ${at} v${number} ${ip} daddr set meta mark map @to_addr${number} udp dport set meta mark map @to_port ` +
        'meta mark set 0 notrack accept',
    ]),
    ...entry(at, 'pre', rules, (number) => `goto v${number}`),
    ...FAMILIES.map(
      ({ number, ip }) =>
        `add rule ${at} post meta mark set ${tupleOf(ip)} map @routed${number} meta mark vmap @egress`,
    ),
  ];
}

/** Rules of the first chain: what is left to the server, then the sessions. */
function entry(
  at: string,
  chain: string,
  { control, data, maxPayloadBytes }: RelayRules,
  leave: (family: 4 | 6) => string,
): string[] {
  const sessions = data === undefined ? chain : 'sessions';
  const tooLong =
    maxPayloadBytes === undefined
      ? []
      : [`udp length > ${count(maxPayloadBytes + UDP_HEADER_BYTES, 'a length')} accept`];
  return [
    ...(data === undefined ? [] : [`add chain ${at} sessions`]),
    ...[...control.map((pattern) => `${matchOf(pattern)} accept`), ...tooLong].map(
      (rule) => `add rule ${at} ${chain} ${rule}`,
    ),
    ...FAMILIES.map(
      ({ number, ip }) =>
        `add rule ${at} ${sessions} ${WHOLE[number]} meta mark set ${tupleOf(ip)} map @sessions${number} ${leave(number)}`,
    ),
    ...(data ?? []).map((pattern) => `add rule ${at} ${chain} ${matchOf(pattern)} goto sessions`),
  ];
}

function tupleOf(ip: string): string {
  return `${ip} saddr . udp sport . ${ip} daddr . udp dport`;
}

const UDP_HEADER_BYTES = 8;

function matchOf(pattern: PayloadPattern): string {
  const parts = pattern.map(({ offsetBytes, lengthBytes, mask, values }) => {
    const bits = 8 * lengthBytes;
    const field = `@th,${count(8 * (UDP_HEADER_BYTES + offsetBytes), 'an offset')},${bits}`;
    const list = values.map((value) => count(value, 'a value'));
    const masked = mask === undefined ? field : `${field} & ${count(mask, 'a mask')}`;
    return list.length === 1 ? `${masked} == ${list[0]}` : `${masked} { ${list.join(', ')} }`;
  });
  return `meta l4proto udp ${parts.join(' ')}`;
}

import type { ElementChange } from './nft-commands.ts';
import { type FormRules, tupleKey } from './relay-form.ts';
import {
  controlRules,
  counterMap,
  counterMapCommands,
  dataRules,
  type Egress,
  HAS_CHECKSUM,
  limitRules,
  objectCommands,
  type RelayRules,
  sessionCount,
  tupleOf,
} from './relay-rules.ts';
import { port } from './values.ts';

const FORM = 'inet';
const FAMILIES = [
  { number: 4, ip: 'ip', type: 'ipv4_addr', whole: 'ip frag-off & 0x3fff == 0' },
  { number: 6, ip: 'ip6', type: 'ipv6_addr', whole: '' },
] as const;
const LIMIT_KEYS = { limits: 'meta mark map @limits', quotas: 'meta mark map @quotas' };

/** A packet carries the direction's mark while a chain looks its new addresses up. The host routes it between the two chains. */
export const ROUTING_FORM: FormRules = {
  form: FORM,
  maps: ['sessions4', 'sessions6', 'to_addr4', 'to_addr6', 'to_port', 'egress', 'routed4', 'routed6'],
  maxMark: 0xffff_ffff,

  definition: (rules) => ({
    families: [FORM],
    commands: (family, table) => {
      const at = `${family} ${table}`;
      return [...maps(at, rules), ...objectCommands(at, rules), ...routing(at, rules)];
    },
    chains: () => [{ chain: 'pre' }, { chain: 'post' }],
  }),

  egressRules({ ip, source, counterMap: map }: Egress) {
    const saddr = ip === 4 ? 'ip saddr' : 'ip6 saddr';
    return `udp sport set meta mark map @${map} meta mark set 0 ${saddr} set ${source}`;
  },

  elements({ mark, ip, from, to }, egress) {
    const key = String(mark);
    const element = (map: string, of: string, value: string): ElementChange => ({ family: FORM, map, key: of, value });
    return [
      element(`to_addr${ip}`, key, to.remote.address),
      element('to_port', key, port(to.remote.port)),
      element(counterMap(mark >> 1), key, port(to.local.port)),
      element('egress', key, `goto ${egress}`),
      element(`sessions${ip}`, tupleKey(from.remote, from.local), key),
      element(`routed${ip}`, tupleKey(from.remote, to.remote), key),
    ];
  },

  isEntry: ({ map }) => map.startsWith('sessions') || map.startsWith('routed'),

  account: ({ mark }) => ({ limits: 'limits', quotas: 'quotas', key: String(mark) }),

  markOf: Number,
};

function maps(at: string, rules: RelayRules): string[] {
  const size = sessionCount(rules);
  const perFamily = FAMILIES.flatMap(({ number, type }) => {
    const tuple = `${type} . inet_service . ${type} . inet_service`;
    return [
      `add map ${at} sessions${number} { type ${tuple} : mark; size ${size}; }`,
      `add map ${at} routed${number} { type ${tuple} : mark; size ${size}; }`,
      `add map ${at} to_addr${number} { type mark : ${type}; size ${size}; }`,
    ];
  });
  return [
    ...perFamily,
    `add map ${at} to_port { type mark : inet_service; size ${size}; }`,
    ...counterMapCommands(at, rules, 'type mark : inet_service'),
    `add map ${at} limits { type mark : limit; size ${size}; }`,
    `add map ${at} quotas { type mark : quota; size ${size}; }`,
    `add map ${at} egress { type mark : verdict; size ${size}; }`,
  ];
}

function routing(at: string, rules: RelayRules): string[] {
  const sessions = FAMILIES.map(
    ({ number, ip, whole }) =>
      `${whole} ${HAS_CHECKSUM} meta mark set ${tupleOf(ip)} map @sessions${number} goto v${number}`,
  );
  return [
    `add chain ${at} pre { type filter hook prerouting priority -300; policy accept; }`,
    `add chain ${at} post { type filter hook postrouting priority 300; policy accept; }`,
    ...FAMILIES.flatMap(({ number, ip }) => [
      `add chain ${at} v${number}`,
      ...limitRules(LIMIT_KEYS, rules.totalBytesPerSecond).map((rule) => `add rule ${at} v${number} ${rule}`),
      `add rule ${at} v${number} ${ip} daddr set meta mark map @to_addr${number} udp dport set meta mark map @to_port ` +
        'meta mark set 0 notrack accept',
    ]),
    ...controlRules(at, 'pre', rules),
    ...dataRules(at, 'pre', rules, sessions),
    ...FAMILIES.map(
      ({ number, ip }) =>
        `add rule ${at} post meta mark set ${tupleOf(ip)} map @routed${number} meta mark vmap @egress`,
    ),
  ];
}

import type { ElementChange } from './nft-commands.ts';
import { type Direction, type FormRules, tupleKey } from './relay-form.ts';
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
import { device, hexAddress, port, wordSum } from './values.ts';

const FORM = 'netdev';

/**
 * How packets are rewritten. A write that keeps checksums right costs far more than a look-up. So one write without checksums puts
 * all four fields in place, from a map that is found by them; but for the source and the source port it writes others, an alias,
 * such that the two writes after it, which put the relay's own there and keep checksums right, change the checksums by what all
 * four have changed: in ones' complement (RFC 1624), the alias is the old source plus the old destination minus the new destination. Only
 * 16 bits of the address are needed for that; the 16 bits before them hold the direction's mark, so that the alias is its key in
 * all further maps. No packet leaves with it: what is not dropped gets the relay's address by the same chain.
 */
const FIELDS = {
  4: {
    ip: 'ip',
    type: 'ipv4_addr',
    all: '@nh,96,96',
    alias: '@nh,96,32',
    // No options: the ports follow. Fragments have none of their own: the host puts them together for the server. The kernel masks
    // four bytes faster than two, and reads the protocol faster here than in its own metadata.
    whole: '@nh,0,8 0x45 @nh,32,32 & 0x3fff == 0 ip protocol udp',
  },
  6: { ip: 'ip6', type: 'ipv6_addr', all: '@nh,64,288', alias: '@nh,160,32', whole: 'ip6 nexthdr udp' },
} as const;
const FAMILIES = [4, 6] as const;

export const INGRESS_FORM: FormRules = {
  form: FORM,
  maps: ['sessions4', 'sessions6', 'egress'],
  maxMark: 0xffff,

  definition: (rules) => ({
    families: [FORM],
    commands: (family, table) => {
      const at = `${family} ${table}`;
      return [...maps(at, rules), ...objectCommands(at, rules), ...ingress(at, rules)];
    },
    chains: () => [{ chain: 'in', devices: rules.devices }],
  }),

  egressRules({ ip, source, hop, counterMap: map, account }: Egress, totalBytesPerSecond) {
    const { ip: protocol, alias } = FIELDS[ip];
    const keys = { limits: `${protocol} saddr map @limits${ip}`, quotas: `${protocol} saddr map @quotas${ip}` };
    const rewrite = `udp sport set ${alias} map @${map} ${protocol} saddr set ${source}`;
    return [...limitRules(keys, totalBytesPerSecond, account), `${rewrite} ${hop}`].join('\n');
  },

  elements(direction, egress) {
    const { mark, ip, from, to } = direction;
    const key = String(aliasNumber(direction));
    const element = (map: string, of: string, value: string): ElementChange => ({ family: FORM, map, key: of, value });
    const fields = `${hexAddress(aliasOf(direction))}${hexAddress(to.remote.address)}${hexPorts(direction)}`;
    return [
      element(counterMap(mark >> 1), key, port(to.local.port)),
      element('egress', key, `goto ${egress}`),
      element(`sessions${ip}`, tupleKey(from.remote, from.local), `0x${fields}`),
    ];
  },

  isEntry: ({ map }) => map.startsWith('sessions'),

  account(direction) {
    const { ip } = direction;
    return { limits: `limits${ip}`, quotas: `quotas${ip}`, key: aliasOf(direction) };
  },

  markOf: (counterKey) => Math.floor(Number(counterKey) / 0x10000),
};

function maps(at: string, rules: RelayRules): string[] {
  const size = sessionCount(rules);
  return [
    ...FAMILIES.flatMap((number) => {
      const { ip, type, all } = FIELDS[number];
      return [
        `add map ${at} sessions${number} { typeof ${tupleOf(ip)} : ${all}; size ${size}; }`,
        `add map ${at} limits${number} { type ${type} : limit; size ${size}; }`,
        `add map ${at} quotas${number} { type ${type} : quota; size ${size}; }`,
      ];
    }),
    ...counterMapCommands(at, rules, `typeof ${FIELDS[4].alias} : udp sport`),
    `add map ${at} egress { typeof ${FIELDS[4].alias} : verdict; size ${size}; }`,
  ];
}

function ingress(at: string, rules: RelayRules): string[] {
  const devices = rules.devices.map(device).join(', ');
  const hook = `type filter hook ingress devices = { ${devices} } priority -300; policy accept;`;
  const sessions = FAMILIES.map((number) => {
    const { ip, all, alias, whole } = FIELDS[number];
    return `${whole} ${HAS_CHECKSUM} ${all} set ${tupleOf(ip)} map @sessions${number} ${alias} vmap @egress`;
  });
  return [`add chain ${at} in { ${hook} }`, ...controlRules(at, 'in', rules), ...dataRules(at, 'in', rules, sessions)];
}

/** The address that stands for the source between the two writes. */
function aliasOf(direction: Direction): string {
  const number = aliasNumber(direction);
  const [high, low] = [number >>> 16, number & 0xffff];
  if (direction.ip === 6) return `::${high.toString(16)}:${low.toString(16)}`;
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** The 32 bits of it that are not zero: the mark, and what makes the sum right. */
function aliasNumber({ mark, from, to }: Direction): number {
  const rest = wordSum(from.remote.address) + wordSum(from.local.address) - wordSum(to.remote.address) - mark;
  return mark * 0x10000 + modulo(rest);
}

/** The source port that stands for the relay's, and the destination's. */
function hexPorts({ from, to }: Direction): string {
  const alias = modulo(from.remote.port + from.local.port - to.remote.port);
  return [alias, to.remote.port].map((each) => each.toString(16).padStart(4, '0')).join('');
}

/** Ones' complement numbers of 16 bits are numbers modulo this. */
function modulo(value: number): number {
  return ((value % 0xffff) + 0xffff) % 0xffff;
}

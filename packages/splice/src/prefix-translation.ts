import { OwnedTables, type TablesComponents, type TablesOptions } from './owned-tables.ts';
import { OwnedRules } from './owned-rules.ts';
import { address, device, prefixLength } from './values.ts';

/** An IPv4 network. */
export interface Prefix {
  readonly address: string;
  readonly prefixLength: number;
}

export interface PrefixTranslationOptions extends Partial<Omit<TablesOptions, 'prefix' | 'instance'>> {
  /** The interface whose packets are translated. */
  interfaceName: string;
  /** Lower-case letters and digits, different for each interface. */
  instance: string;
  /** What programs of this machine use. */
  inside: Prefix;
  /** What packets on the interface carry; as long as `inside`. */
  outside: Prefix;
}

/**
 * Translates one IPv4 network into another of the same size on one interface, without state: host parts stay, checksums are
 * adjusted (RFC 6296 does the same for IPv6). Addresses outside both networks pass unchanged.
 *
 * Packets that arrive are translated before connection tracking and routing, those that leave after both, so that everything else
 * on the machine sees the inside addresses only. Addresses inside the payload of ICMP errors are not translated.
 */
export class PrefixTranslation extends OwnedRules {
  /**
   * Begins to translate; the rules are made again when somebody removes them.
   * @throws SpliceError `nft-missing`, `not-permitted`, `not-supported`, `nft-rejected`, `nft-timeout`, `invalid-value`
   */
  static async open(components: TablesComponents, options: PrefixTranslationOptions): Promise<PrefixTranslation> {
    const { interfaceName, inside, outside, ...tables } = options;
    const commands = rules(device(interfaceName), prefixOf(inside), prefixOf(outside));
    const definition = {
      families: ['ip'] as const,
      commands: (_family: unknown, table: string) => commands(table),
      chains: () => [{ chain: 'pre' }, { chain: 'post' }],
    };
    return new PrefixTranslation(
      await OwnedTables.open(components, definition, { ...tables, prefix: 'towpath-prefix' }),
    );
  }
}

/** A network and what keeps the host part of an address. */
interface CheckedPrefix {
  readonly network: string;
  readonly text: string;
  readonly hostMask: string;
}

function prefixOf(prefix: Prefix): CheckedPrefix {
  const network = address(prefix.address);
  const bits = prefixLength(prefix.prefixLength);
  const hostMask = 2 ** (32 - bits) - 1;
  const octets = [24, 16, 8, 0].map((shift) => (hostMask >>> shift) & 0xff);
  return { network, text: `${network}/${bits}`, hostMask: octets.join('.') };
}

function rules(dev: string, inside: CheckedPrefix, outside: CheckedPrefix): (table: string) => string[] {
  const translate = (field: string, from: CheckedPrefix, to: CheckedPrefix) =>
    `ip ${field} ${from.text} ip ${field} set ip ${field} & ${to.hostMask} | ${to.network}`;
  return (table) => [
    // Before the rules that restore forwarded broadcasts (-310) and before conntrack (-200) …
    `add chain ip ${table} pre { type filter hook prerouting priority -320; policy accept; }`,
    // … and after those that copy broadcasts (300).
    `add chain ip ${table} post { type filter hook postrouting priority 310; policy accept; }`,
    ...['saddr', 'daddr'].flatMap((field) => [
      `add rule ip ${table} pre iifname ${dev} ${translate(field, outside, inside)}`,
      `add rule ip ${table} post oifname ${dev} ${translate(field, inside, outside)}`,
    ]),
  ];
}

import { deadlineInterval, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { randomInstance } from './host-splice.ts';
import type { MapElement } from './nft-output.ts';
import { OwnedRules } from './owned-rules.ts';
import { OwnedTables, type TablesComponents, type TablesDefinition, type TablesOptions } from './owned-tables.ts';
import type { Endpoint } from './values.ts';

/** An ICMP error about a UDP datagram of this machine. Nothing proves that it is true: anybody can send one. */
export interface IcmpError {
  /** Port that the datagram was sent from. */
  readonly port: number;
  /** Where it was sent to. */
  readonly peer: Endpoint;
  /** Type and code as received; those of ICMPv6 when the peer's address is an IPv6 one. */
  readonly type: number;
  readonly code: number;
  /** The 4 bytes behind the checksum: the MTU of a next hop that it was too big for, and otherwise unused. */
  readonly data: number;
}

export interface IcmpErrorsOptions extends Partial<Omit<TablesOptions, 'prefix'>> {
  /** First and last port whose datagrams are of interest. */
  ports: readonly [number, number];
  /** Gets what has arrived since the last call; each error once, however often it came meanwhile. */
  onErrors(errors: readonly IcmpError[]): void;
  /** Nothing is read while this returns false. */
  isWanted(): boolean;
  /** How often the kernel is asked, ms. @default 500 */
  intervalMs?: number;
}

const DEFAULT_INTERVAL_MS = 500;
/** What the kernel keeps between two readings; further ones are lost, as ICMP errors may be. */
const MAX_ERRORS = 256;
/** Longer than a reading may be late. */
const KEEP_SECONDS = 10;
const FAMILIES = ['ip', 'ip6'] as const;
const SET = 'errors';

/**
 * Where the fields are, in bits from the ICMP header: of the datagram that is quoted the first byte of the IP header, its
 * protocol, destination and ports. IPv4 headers with options are left out.
 */
const FIELDS = {
  ip: {
    types: 'icmp type { destination-unreachable, time-exceeded }',
    quoted: '@th,64,8 0x45 @th,136,8 17',
    destination: '@th,192,32',
    ports: ['@th,224,16', '@th,224,32'],
  },
  ip6: {
    types: 'icmpv6 type { destination-unreachable, packet-too-big, time-exceeded }',
    quoted: '@th,64,4 6 @th,112,8 17',
    destination: '@th,256,128',
    ports: ['@th,384,16', '@th,384,32'],
  },
} as const;
/** Type and code together, and the 4 bytes behind the checksum. */
const HEADER = ['@th,0,16', '@th,32,32'] as const;

/**
 * ICMP errors about UDP datagrams that this machine has sent, with type and code: systems tell them to connected sockets only,
 * and Node tells neither. The rules note what is quoted and let every packet pass.
 */
export class IcmpErrors extends OwnedRules {
  readonly #options: IcmpErrorsOptions;
  readonly #log: Log;
  readonly #timer: Timer;
  #isReading = false;

  /**
   * Begins to watch.
   * @throws SpliceError `nft-missing`, `not-permitted`, `not-supported`, `nft-rejected`, `nft-timeout`
   */
  static async open(components: TablesComponents, options: IcmpErrorsOptions): Promise<IcmpErrors> {
    const { ports, onErrors, isWanted, intervalMs, ...tables } = options;
    const opened = await OwnedTables.open(components, definition(ports), {
      instance: randomInstance(components),
      ...tables,
      prefix: 'towpath-icmp',
    });
    return new IcmpErrors(components, opened, options);
  }

  private constructor({ clock, log }: TablesComponents, tables: OwnedTables, options: IcmpErrorsOptions) {
    super(tables);
    this.#options = options;
    this.#log = log ?? silentLog;
    const { intervalMs = DEFAULT_INTERVAL_MS } = options;
    this.#timer = deadlineInterval({ clock, intervalMs, onTick: () => void this.#read() });
  }

  override close(): void {
    this.#timer.cancel();
    super.close();
  }

  async #read(): Promise<void> {
    if (this.#isReading || !this.#options.isWanted()) return;
    this.#isReading = true;
    try {
      for (const family of FAMILIES) {
        const found = await this.tables.take({ family, map: SET });
        const errors = found.flatMap((element) => errorOf(family, element) ?? []);
        if (errors.length > 0) this.#options.onErrors(errors);
      }
    } catch (error) {
      // Tables that are gone are made again by their own watch.
      this.#log.debug('ICMP errors could not be read.', { error: errorMessage(error) });
    } finally {
      this.#isReading = false;
    }
  }
}

function definition([first, last]: readonly [number, number]): TablesDefinition {
  return {
    families: FAMILIES,
    commands: (table, named) => {
      if (table !== 'ip' && table !== 'ip6') return [];
      const { types, quoted, destination, ports } = FIELDS[table];
      // nft forgets the lengths of more than four such fields.
      const key = [destination, ports[1], ...HEADER].join(' . ');
      return [
        `add set ${table} ${named} ${SET} { typeof ${key}; size ${MAX_ERRORS}; flags dynamic,timeout; timeout ${KEEP_SECONDS}s; }`,
        `add chain ${table} ${named} input { type filter hook input priority -300; policy accept; }`,
        `add rule ${table} ${named} input ${types} ${quoted} ${ports[0]} ${first}-${last} add @${SET} { ${key} }`,
      ];
    },
    chains: () => [{ chain: 'input' }],
  };
}

/** Undefined for what names no destination. */
function errorOf(family: 'ip' | 'ip6', { key }: MapElement): IcmpError | undefined {
  const parts = key.split(' . ');
  if (parts.length !== 4 || !parts.every((part) => /^(\d+|0x[0-9a-f]+)$/.test(part))) return undefined;
  const [destination, ports, typeAndCode, data] = parts.map(BigInt) as [bigint, bigint, bigint, bigint];
  const peerPort = Number(ports & 0xffffn);
  if (peerPort === 0) return undefined;
  return {
    port: Number(ports >> 16n),
    peer: { address: family === 'ip' ? dotted(destination) : colons(destination), port: peerPort },
    type: Number(typeAndCode >> 8n),
    code: Number(typeAndCode & 0xffn),
    data: Number(data),
  };
}

function dotted(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
}

/** In the form of RFC 5952. */
function colons(value: bigint): string {
  const digits = value.toString(16).padStart(32, '0');
  return new URL(`http://[${digits.replace(/(.{4})(?=.)/g, '$1:')}]`).hostname.slice(1, -1);
}

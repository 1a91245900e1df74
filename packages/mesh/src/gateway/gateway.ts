import { readFileSync } from 'node:fs';
import { type Clock, deadlineInterval, errorMessage, type Log, type Timer } from '@towpath/core';
import { isIpAddress, parseSubnet, type Subnet } from '@towpath/net';
import { MeshError } from '../mesh-error.ts';
import type { Ledger } from '../state/ledger.ts';
import { type Commands, runChecked } from '../wireguard/command.ts';
import { isPartyInterface } from '../wireguard/interface-name.ts';
import { loadRules } from '../wireguard/nft.ts';

export interface GatewayComponents {
  clock: Clock;
  log: Log;
  commands: Commands;
  ledger: Ledger;
}

/** How often the presence of the rules is checked: somebody may flush all rules of the machine. */
const WATCH_MS = 1_000;

/** A network that members may reach: `192.168.43.0/24` for all of them. */
export type Offer =
  | string
  | {
      readonly network: string;
      /** Virtual addresses of the members that may. WireGuard lets no member use the address of another. */
      readonly from: readonly string[];
    };

/** Returns offers as rules have them. @throws MeshError `bad-argument` as {@link parseOffer}. */
export function readOffers(offers: readonly Offer[]): OfferedSubnet[] {
  return offers.slice(0, MAX_OFFERS).map((offer) => {
    if (typeof offer === 'string') return parseOffer(offer);
    return { ...parseOffer(offer.network), from: offer.from.filter((address) => isIpAddress(address)) };
  });
}

/** An offer as the rules have it. */
export interface OfferedSubnet extends Subnet {
  /** undefined: all members. */
  readonly from?: readonly string[] | undefined;
}

export interface GatewayOptions {
  /** The WireGuard interface of the party, `tp-0123456789`. */
  interfaceName: string;
  /** The party's network, `10.66.0.0/16`. */
  network: string;
  /** What is offered; at most {@link MAX_OFFERS}. */
  offers: readonly Offer[];
}

export const MAX_OFFERS = 16;

/** Returns an offered network in canonical form. @throws MeshError `bad-argument` when it is none. */
export function parseOffer(text: string): Subnet {
  const subnet = parseSubnet(text);
  if (subnet !== undefined && !subnet.address.includes(':') && subnet.prefixLength >= MIN_OFFER_BITS) return subnet;
  throw new MeshError(
    'bad-argument',
    `"${text}" is no network that can be offered. Next: give an IPv4 network of at least 8 bits, such as 192.168.43.0/24.`,
  );
}

const MIN_OFFER_BITS = 8;

/**
 * Lets members of a party reach networks beside this machine (C14): they are forwarded from the tunnel with this machine's
 * address as the source, so that the devices there need no route. Nothing else is forwarded, and devices there cannot
 * open connections into the party.
 */
export class Gateway implements AsyncDisposable {
  readonly #components: GatewayComponents;
  #options: GatewayOptions;
  readonly #table: string;
  #watch: Timer | undefined;
  #isChecking = false;

  private constructor(components: GatewayComponents, options: GatewayOptions) {
    this.#components = components;
    this.#options = options;
    this.#table = tableName(options);
  }

  /**
   * Begins to forward.
   * @throws MeshError `bad-argument`, `program-missing`, `permission-denied`, `command-failed`, `disk-failed`; what was
   *   made is undone.
   */
  static async open(components: GatewayComponents, options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(components, options);
    try {
      await gateway.#open();
      return gateway;
    } catch (error) {
      await gateway.close();
      throw error;
    }
  }

  /** Replaces who may reach the offered networks, in one step. @throws MeshError `command-failed`, `bad-argument`. */
  async update(offers: readonly Offer[]): Promise<void> {
    this.#options = { ...this.#options, offers };
    await this.#load(readOffers(offers));
  }

  /** Looks now whether the rules are there and makes them again if not; it is done every second anyway. Never rejects. */
  async check(): Promise<void> {
    if (this.#isChecking || this.#watch === undefined) return;
    const { commands, log } = this.#components;
    this.#isChecking = true;
    try {
      const { code } = await commands.run('nft', ['list', 'table', 'ip', this.#table]);
      if (code === 0 || this.#watch === undefined) return;
      await this.#load(readOffers(this.#options.offers));
      log.warn('The rules of the offered networks were removed by another program, and were made again.');
    } catch (error) {
      log.error(`The offered networks cannot be reached: ${errorMessage(error)}`);
    } finally {
      this.#isChecking = false;
    }
  }

  /** Ends the forwarding and restores the kernel's settings. Idempotent. */
  async close(): Promise<void> {
    this.#watch?.cancel();
    this.#watch = undefined;
    const { ledger } = this.#components;
    for (const artifact of [...ledger.artifacts].reverse()) {
      const isOurs =
        artifact.kind === 'sysctl' || (artifact.kind === 'nft-table' && artifact.name === tableName(this.#options));
      if (isOurs) await ledger.undo(artifact);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open(): Promise<void> {
    const { clock, commands, ledger } = this.#components;
    const { interfaceName } = this.#options;
    const offers = readOffers(this.#options.offers);
    const devices = new Set([interfaceName]);
    for (const offer of offers) devices.add(await deviceOf(commands, offer));
    // The rules come first: with forwarding on and without them, everything would be forwarded.
    ledger.record({ kind: 'nft-table', family: 'ip', name: this.#table });
    await this.#load(offers);
    for (const device of devices) await this.#enableForwarding(device);
    this.#watch = deadlineInterval({ clock, intervalMs: WATCH_MS, onTick: () => void this.check() });
  }

  async #load(offers: readonly OfferedSubnet[]): Promise<void> {
    await loadRules(this.#components.commands, gatewayRules(this.#table, this.#options, offers));
  }

  async #enableForwarding(device: string): Promise<void> {
    const { commands, ledger } = this.#components;
    const key = `net.ipv4.conf.${device.replaceAll('.', '/')}.forwarding`;
    const previous = readFileSync(`/proc/sys/net/ipv4/conf/${device}/forwarding`, 'utf8').trim();
    if (previous === '1') return;
    ledger.record({ kind: 'sysctl', key, previous });
    await runChecked(commands, 'sysctl', ['-qw', `${key}=1`]);
  }
}

function tableName({ interfaceName }: GatewayOptions): string {
  return `towpath-gateway-${interfaceName.replace(/^tp-/, '')}`;
}

/** The interface that the kernel reaches a network through. @throws MeshError `bad-argument` when there is none. */
async function deviceOf(commands: Commands, offer: Subnet): Promise<string> {
  const text = `${offer.address}/${offer.prefixLength}`;
  const { stdout } = await commands.run('ip', ['-4', '-o', 'route', 'get', offer.address]);
  const device = / dev (\S+)/.exec(stdout)?.[1];
  if (device !== undefined && isPartyInterface(device)) {
    throw new MeshError(
      'bad-argument',
      `This machine reaches ${text} through a party itself; parties are kept apart. Next: offer it at a member that is connected to that network.`,
    );
  }
  if (device !== undefined) return device;
  throw new MeshError('bad-argument', `This machine has no route to ${text}. Next: connect it to that network first.`);
}

/** The rules of a gateway. */
export function gatewayRules(table: string, options: GatewayOptions, offers: readonly OfferedSubnet[]): string {
  const { interfaceName, network } = options;
  const toAll = offers.filter(({ from }) => from === undefined);
  const matches = [
    ...(toAll.length > 0 ? [`ip saddr ${network} ip daddr { ${toAll.map(networkText).join(', ')} }`] : []),
    ...offers.flatMap((offer) => {
      if (offer.from === undefined || offer.from.length === 0) return [];
      return [`ip saddr { ${offer.from.join(', ')} } ip daddr { ${networkText(offer)} }`];
    }),
  ];
  const offered = matches.map((match) => `    iifname "${interfaceName}" ${match} accept\n`).join('');
  const source = matches.map((match) => `    ${match} oifname != "${interfaceName}" masquerade\n`).join('');
  return `
table ip ${table}
delete table ip ${table}
table ip ${table} {
  chain forward {
    type filter hook forward priority 0; policy accept;
${offered}    iifname "${interfaceName}" drop
    oifname "${interfaceName}" ct state established,related accept
    oifname "${interfaceName}" drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
${source}  }
}
`;
}

function networkText({ address, prefixLength }: Subnet): string {
  return `${address}/${prefixLength}`;
}

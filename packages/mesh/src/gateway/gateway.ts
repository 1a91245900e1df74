import type { Log } from '@towpath/core';
import { isIpAddress, parseSubnet, type Subnet } from '@towpath/net';
import { dropsForwarded } from '@towpath/splice';
import { MeshError } from '../mesh-error.ts';
import { type RestoreAtEnd, restoreAtEnd } from './restore-at-end.ts';
import type { Ledger } from '../state/ledger.ts';
import { type Commands, runChecked } from '../wireguard/command.ts';
import { isPartyInterface } from '../wireguard/interface-name.ts';

export interface GatewayComponents {
  commands: Commands;
  log: Log;
  ledger: Ledger;
  /** @default a process that waits for the end of this one */
  restoreAtEnd?: (settings: readonly string[]) => RestoreAtEnd;
}

/** A network that members may reach: `192.168.43.0/24` for all of them. */
export type Offer =
  | string
  | {
      readonly network: string;
      /** Virtual addresses of the members that may. WireGuard lets no member use the address of another. */
      readonly from: readonly string[];
    };

/** Returns offers as rules have them. @throws MeshError `bad-argument` as {@link parseRoutedNetwork}. */
export function readOffers(offers: readonly Offer[]): OfferedSubnet[] {
  return offers.slice(0, MAX_OFFERS).map((offer) => {
    if (typeof offer === 'string') return parseRoutedNetwork(offer);
    return { ...parseRoutedNetwork(offer.network), from: offer.from.filter((address) => isIpAddress(address)) };
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
  /** What is offered; at most {@link MAX_OFFERS}. */
  offers: readonly Offer[];
}

export const MAX_OFFERS = 16;

/**
 * Returns a network that a member may offer, and others may accept, in canonical form. Loopback, multicast and reserved
 * addresses are not beside any member.
 * @throws MeshError `bad-argument` when it is none.
 */
export function parseRoutedNetwork(text: string): Subnet {
  const subnet = parseSubnet(text);
  if (subnet !== undefined && !subnet.address.includes(':') && subnet.prefixLength >= MIN_NETWORK_BITS) {
    const first = Number.parseInt(subnet.address, 10);
    if (first !== 0 && first !== LOOPBACK && first < FIRST_MULTICAST) return subnet;
  }
  throw new MeshError(
    'bad-argument',
    `"${text}" is no network that can be offered or accepted. Next: give an IPv4 network of at least 8 bits, such as 192.168.43.0/24.`,
  );
}

const MIN_NETWORK_BITS = 8;
const LOOPBACK = 127;
const FIRST_MULTICAST = 224;

/**
 * Makes the kernel forward between a party and the networks beside this machine that members may reach (C14). What is
 * forwarded, and with which source, is up to the party filter, whose rules have to be there before.
 */
export class Gateway implements AsyncDisposable {
  readonly #components: GatewayComponents;
  #atEnd: RestoreAtEnd | undefined;

  private constructor(components: GatewayComponents) {
    this.#components = components;
  }

  /**
   * Begins to forward.
   * @throws MeshError `bad-argument`, `program-missing`, `permission-denied`, `command-failed`, `disk-failed`; what was
   *   made is undone.
   */
  static async open(components: GatewayComponents, options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(components);
    try {
      await gateway.#open(options);
      return gateway;
    } catch (error) {
      await gateway.close();
      throw error;
    }
  }

  /** Ends the forwarding: restores the kernel's settings. Idempotent. */
  async close(): Promise<void> {
    const { ledger } = this.#components;
    this.#atEnd?.cancel();
    for (const artifact of [...ledger.artifacts].reverse()) {
      if (artifact.kind === 'sysctl') await ledger.undo(artifact);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open({ interfaceName, offers }: GatewayOptions): Promise<void> {
    const { commands, ledger, restoreAtEnd: atEnd = restoreAtEnd } = this.#components;
    const devices = new Set([interfaceName]);
    for (const offer of readOffers(offers)) devices.add(await deviceOf(commands, offer));
    const settings: { key: string; previous: string }[] = [];
    for (const device of devices) {
      const key = `net.ipv4.conf.${device.replaceAll('.', '/')}.forwarding`;
      const previous = (await runChecked(commands, 'sysctl', ['-n', key])).trim();
      if (previous !== '1') settings.push({ key, previous });
    }
    await this.#warnOfFirewall(interfaceName);
    if (settings.length === 0) return;
    for (const setting of settings) ledger.record({ kind: 'sysctl', ...setting });
    this.#atEnd = atEnd(settings.map(({ key, previous }) => `${key}=${previous}`));
    for (const { key } of settings) await runChecked(commands, 'sysctl', ['-qw', `${key}=1`]);
  }

  /** What another program drops, no rule of the party filter can accept. */
  async #warnOfFirewall(interfaceName: string): Promise<void> {
    const { commands, log } = this.#components;
    const { code, stdout } = await commands.run('nft', ['-j', 'list', 'chains']);
    if (code !== 0 || !dropsForwarded(stdout)) return;
    log.warn(
      `A FORWARD chain of this machine drops packets by default: members reach the offered networks only where its rules accept packets from ${interfaceName}, and replies to it. ` +
        `Next: add them, for example "iptables -I FORWARD -i ${interfaceName} -j ACCEPT" and "iptables -I FORWARD -o ${interfaceName} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT".`,
    );
  }
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

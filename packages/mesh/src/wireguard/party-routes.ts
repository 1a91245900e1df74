import { errorMessage } from '@towpath/core';
import { inSubnet, type Subnet } from '@towpath/net';
import { usedNetworks } from '../addresses/used-networks.ts';
import type { UsedNetwork } from '../addresses/virtual-network.ts';
import { parseRoutedNetwork } from '../gateway/gateway.ts';
import { type Commands, commandFailure, runChecked } from './command.ts';
import { networkText } from './uapi.ts';

/** The routes of a party on this machine: to accepted networks, and to peers that take smaller packets. */
export class PartyRoutes {
  readonly #commands: Commands;
  readonly #interfaceName: string;
  readonly #networks = new Map<string, Subnet>();
  /** Largest packet by address, bytes. */
  readonly #mtus = new Map<string, number>();

  constructor({ commands }: { commands: Commands }, options: { interfaceName: string }) {
    this.#commands = commands;
    this.#interfaceName = options.interfaceName;
  }

  /**
   * Routes an accepted network into the tunnel, unless it is none that a member can offer, or the machine has a route of its own
   * to just that network.
   * @returns why there is no route to it, in a sentence
   * @throws MeshError `command-failed`
   */
  async add(network: string): Promise<string | undefined> {
    let wanted: Subnet;
    try {
      wanted = parseRoutedNetwork(network);
    } catch (error) {
      return errorMessage(error);
    }
    const other = (await usedNetworks(this.#commands)).find((used) => this.#isOtherRoute(used, wanted));
    if (other !== undefined) {
      return `This machine reaches ${network} through ${other.interfaceName}, and that route stays. Next: remove it or accept another network, and start towpath up again.`;
    }
    await this.#replace(network);
    this.#networks.set(network, wanted);
    return undefined;
  }

  /** Removes a route that {@link PartyRoutes.add} has made; does nothing when it, or the interface, is gone. */
  async remove(network: string): Promise<void> {
    if (!this.#networks.delete(network)) return;
    await this.#delete(network);
  }

  /** True for addresses of routed networks. */
  includes(address: string): boolean {
    return this.#networks.values().some((network) => inSubnet(address, network));
  }

  /** Sets the largest packet to one peer, bytes; undefined for the interface's own. @throws MeshError `command-failed`. */
  async setMtu(address: string, mtuBytes: number | undefined): Promise<void> {
    if (mtuBytes === undefined) {
      if (this.#mtus.delete(address)) await this.#delete(`${address}/32`);
      return;
    }
    await this.#replace(`${address}/32`, 'mtu', String(mtuBytes));
    this.#mtus.set(address, mtuBytes);
  }

  /** Makes all of them again, for an interface that was made again. @throws MeshError `command-failed` */
  async restore(): Promise<void> {
    for (const network of this.#networks.keys()) await this.#replace(network);
    for (const [address, mtuBytes] of this.#mtus) await this.#replace(`${address}/32`, 'mtu', String(mtuBytes));
  }

  #isOtherRoute({ subnet, interfaceName }: UsedNetwork, { address, prefixLength }: Subnet): boolean {
    return interfaceName !== this.#interfaceName && subnet.address === address && subnet.prefixLength === prefixLength;
  }

  async #replace(network: string, ...more: string[]): Promise<void> {
    await runChecked(this.#commands, 'ip', [
      'route',
      'replace',
      networkText(network),
      'dev',
      this.#interfaceName,
      ...more,
    ]);
  }

  async #delete(network: string): Promise<void> {
    const args = ['route', 'delete', networkText(network), 'dev', this.#interfaceName];
    const { code, stderr } = await this.#commands.run('ip', args);
    if (code !== 0 && !/No such process|Cannot find device|No such device/.test(stderr)) {
      throw commandFailure('ip', args, stderr);
    }
  }
}

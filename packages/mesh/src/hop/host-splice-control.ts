import { type Clock, errorMessage, type Log, type Random } from '@towpath/core';
import { type Endpoint, isUnspecified } from '@towpath/net';
import { HostSplice, NodeSystem, type SplicedPeer } from '@towpath/splice';
import type { Commands } from '../wireguard/command.ts';
import type { SpliceControl, SpliceEntry } from './splice-control.ts';

export interface HostSpliceControlComponents {
  commands: Commands;
  clock: Clock;
  random: Random;
  log: Log;
}

/** The kernel's splice of this machine, as data planes use it; a machine without nftables has one that is not available. */
export class HostSpliceControl implements SpliceControl, Disposable {
  readonly #commands: Commands;
  readonly #splice: HostSplice | undefined;
  readonly #lost = new Set<() => void>();
  #available: boolean;

  private constructor(commands: Commands, splice: HostSplice | undefined) {
    this.#commands = commands;
    this.#splice = splice;
    this.#available = splice !== undefined;
    splice?.events.on('failed', () => this.#lose());
    splice?.events.on('replaced', () => {
      this.#available = true;
    });
  }

  /** Makes the tables. A failure leaves the splice unavailable, and is logged. */
  static async open(components: HostSpliceControlComponents, wireguardPort: number): Promise<HostSpliceControl> {
    const { commands, log } = components;
    try {
      const splice = await HostSplice.open({ ...components, system: new NodeSystem() }, { wireguardPort });
      return new HostSpliceControl(commands, splice);
    } catch (error) {
      log.info(`The splice is not available; the hop carries every peer. ${errorMessage(error)}`);
      return new HostSpliceControl(commands, undefined);
    }
  }

  get available(): boolean {
    return this.#available;
  }

  async entry({ local, remote }: { local: Endpoint; remote: Endpoint }): Promise<SpliceEntry | undefined> {
    const splice = this.#splice;
    if (splice === undefined) return undefined;
    if (!isUnspecified(local.address) && (await this.#sourceTo(remote.address)) !== local.address) return undefined;
    const peer: SplicedPeer = { address: remote.address, port: remote.port, pathPort: local.port };
    return {
      addOutbound: () => splice.addOut(peer),
      removeOutbound: () => splice.removeOut(peer),
      addInbound: () => splice.addIn(peer),
      removeInbound: () => splice.removeIn(peer),
      counters: async () => {
        const { inPackets, outPackets } = await splice.counters(peer);
        return { inboundPackets: inPackets, outboundPackets: outPackets };
      },
    };
  }

  onLost(listener: () => void): () => void {
    this.#lost.add(listener);
    return () => this.#lost.delete(listener);
  }

  /** Removes the tables. Peers must be on the hop. */
  close(): void {
    this.#splice?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The tables cannot be made again: every peer goes back to the hop. */
  #lose(): void {
    this.#available = false;
    for (const listener of [...this.#lost]) listener();
  }

  /** The address that the kernel would send from; undefined when there is no route. */
  async #sourceTo(address: string): Promise<string | undefined> {
    const { stdout } = await this.#commands.run('ip', ['-o', 'route', 'get', address]);
    return / src (\S+)/.exec(stdout)?.[1];
  }
}

import { errorMessage, type Log, silentLog } from '@towpath/core';
import type { Network, UdpSocket } from '@towpath/net';
import type { Ledger } from '../state/ledger.ts';
import type { Commands } from '../wireguard/command.ts';
import { loadRules } from '../wireguard/nft.ts';
import { DEFAULT_GROUPS, lanEgressRules, lanRules, type LanRulesOptions } from './lan-rules.ts';

export interface LanForwarderComponents {
  commands: Commands;
  ledger: Ledger;
  network: Network;
  log?: Log | undefined;
}

/**
 * Forwards broadcasts and multicasts (games, mDNS, SSDP) between this machine's programs and the members of a party, in
 * the kernel. Everything of it is gone after `close()`.
 */
export class LanForwarder implements AsyncDisposable {
  readonly #components: LanForwarderComponents;
  readonly #options: Omit<LanRulesOptions, 'table' | 'receivers'>;
  readonly #table: string;
  #members: UdpSocket | undefined;

  /** @param options.interfaceName of the party, `tp-0123456789`; the tables are named after it. */
  constructor(components: LanForwarderComponents, options: Omit<LanRulesOptions, 'table' | 'receivers'>) {
    this.#components = components;
    this.#options = options;
    this.#table = `towpath-lan-${options.interfaceName.replace(/^tp-/, '')}`;
  }

  /**
   * Sets which members get copies; the first call begins to forward.
   * @throws MeshError `program-missing`, `permission-denied`, `command-failed`.
   */
  async update(receivers: readonly string[]): Promise<void> {
    const { commands, ledger, network, log = silentLog } = this.#components;
    const options = { ...this.#options, table: this.#table, receivers };
    // The kernel drops multicasts of groups that nobody has joined; programs that did not ask for an interface hear them
    // when somebody has.
    this.#members ??= await network.bindUdp({
      multicastGroups: options.groups ?? DEFAULT_GROUPS,
      onMessage: () => {},
      onError: (error) => log.debug('A multicast group could not be joined.', { error: error.message }),
    });
    ledger.record({ kind: 'nft-table', family: 'ip', name: this.#table });
    await loadRules(commands, lanRules(options));
    ledger.record({ kind: 'nft-table', family: 'netdev', name: this.#table });
    await loadRules(commands, lanEgressRules(options)).catch((error: unknown) =>
      log.debug('Originals of forwarded broadcasts cannot be dropped on this kernel.', { error: errorMessage(error) }),
    );
  }

  /** Ends the forwarding. Idempotent. */
  async close(): Promise<void> {
    await this.#members?.close();
    const { ledger } = this.#components;
    await ledger.undo({ kind: 'nft-table', family: 'netdev', name: this.#table });
    await ledger.undo({ kind: 'nft-table', family: 'ip', name: this.#table });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

import type { PeerId } from '@towpath/membership';
import type { Ledger } from '../state/ledger.ts';
import { DEFAULT_DOMAIN, hostNames, type NameHolder } from './host-name.ts';
import { HOSTS_PATH, type HostsEntry, writeHostsBlock } from './hosts-file.ts';

/** A member with the address that its name stands for. */
export interface NamedMember extends NameHolder {
  readonly virtualAddress: string;
}

/** Keeps a name for each member of one party in the hosts file, until it is closed. */
export class PartyNames implements AsyncDisposable {
  readonly #ledger: Ledger;
  readonly #path: string;
  readonly #marker: string;
  readonly #domain: string;

  /**
   * @param options.marker names our block among those of other parties: the interface's name.
   * @param options.hostsPath @default '/etc/hosts'
   * @param options.domain see {@link hostNames}. @default 'internal'
   */
  constructor(
    components: { ledger: Ledger },
    options: { marker: string; hostsPath?: string | undefined; domain?: string | undefined },
  ) {
    this.#ledger = components.ledger;
    this.#path = options.hostsPath ?? HOSTS_PATH;
    this.#marker = options.marker;
    this.#domain = options.domain ?? DEFAULT_DOMAIN;
  }

  /**
   * Replaces the names in the hosts file.
   * @returns the names by member id.
   * @throws MeshError `disk-failed`.
   */
  update(partyName: string, members: readonly NamedMember[]): Map<PeerId, string> {
    const names = hostNames(partyName, members, this.#domain);
    const entries: HostsEntry[] = members.map(({ id, virtualAddress }) => ({
      address: virtualAddress,
      name: names.get(id)!,
    }));
    this.#ledger.record({ kind: 'hosts-block', path: this.#path, marker: this.#marker });
    writeHostsBlock(this.#path, this.#marker, entries);
    return names;
  }

  /** Removes the names. */
  async close(): Promise<void> {
    await this.#ledger.undo({ kind: 'hosts-block', path: this.#path, marker: this.#marker });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

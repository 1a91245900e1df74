import { type Clock, deadlineInterval, errorMessage, type Log, type Random, type Timer } from '@towpath/core';
import { parseSubnet, type Subnet } from '@towpath/net';
import {
  type FilterCounts,
  type FilterOffer,
  NodeSystem,
  PartyFilter,
  SpliceError,
  type System,
} from '@towpath/splice';
import { MeshError, type MeshErrorCode } from '../mesh-error.ts';

export interface FilterControlComponents {
  clock: Clock;
  random: Random;
  log: Log;
  /** @default the programs of this machine */
  system?: System;
}

export interface FilterControlOptions {
  /** See {@link interfaceNameFor}. */
  interfaceName: string;
  /** This machine's virtual address. */
  address: string;
  /** The party's network as this machine sees it. */
  network: Subnet;
  /** What members may reach beside this machine. */
  offers: readonly FilterOffer[];
}

/** Whether the machine keeps a party apart from its other networks and parties. */
export interface FilterStatus {
  /** Why not; undefined while it does. */
  readonly problem: string | undefined;
  /** Packets that were dropped since the party is up, as last read. */
  readonly dropped: FilterCounts;
}

/** What is not filtered on a machine without the rules, for people. */
export const NOT_FILTERED =
  'This machine does not keep its parties apart from its other networks: neighbours can send to its virtual address, and if it forwards packets, members can reach its networks and other parties.';

const READ_MS = 5_000;
const NONE: FilterCounts = { strangers: 0, forged: 0, notOffered: 0, intoParty: 0 };

/** The party filter of this machine; one without nftables has none, and says so. */
export class FilterControl implements Disposable {
  readonly #log: Log;
  readonly #filter: PartyFilter | undefined;
  readonly #networks = new Set<string>();
  readonly #reading: Timer | undefined;
  #problem: string | undefined;
  #dropped = NONE;

  private constructor(
    { clock, log }: FilterControlComponents,
    filter: PartyFilter | undefined,
    problem: string | undefined,
  ) {
    this.#log = log;
    this.#filter = filter;
    this.#problem = problem;
    filter?.events.on('failed', ({ message }) => {
      this.#problem = message;
    });
    filter?.events.on('replaced', () => {
      this.#problem = undefined;
    });
    this.#reading = filter && deadlineInterval({ clock, intervalMs: READ_MS, onTick: () => void this.read() });
  }

  /**
   * Makes the rules. A failure leaves the party unfiltered, which is logged and in {@link status}.
   * @throws MeshError `program-missing`, `permission-denied`, `command-failed` when networks are offered: without the rules,
   *   members would reach all networks of this machine.
   */
  static async open(components: FilterControlComponents, options: FilterControlOptions): Promise<FilterControl> {
    const { system = new NodeSystem(), log } = components;
    const { offers, interfaceName, ...rest } = options;
    let filter: PartyFilter | undefined;
    try {
      filter = await PartyFilter.open(
        { ...components, system },
        {
          ...rest,
          interfaceName,
          interfacePrefix: 'tp-',
          instance: interfaceName.replace(/^tp-/, ''),
          gateway: offers.length > 0,
        },
      );
      await filter.setOffers(offers);
      return new FilterControl(components, filter, undefined);
    } catch (error) {
      filter?.close();
      if (offers.length > 0) throw notOffered(error);
      const problem = errorMessage(error);
      log.warn(`${NOT_FILTERED} ${problem}`);
      return new FilterControl(components, undefined, problem);
    }
  }

  get status(): FilterStatus {
    return { problem: this.#problem, dropped: this.#dropped };
  }

  /** Reads what was dropped. Never rejects. */
  async read(): Promise<void> {
    try {
      this.#dropped = (await this.#filter?.counts()) ?? NONE;
    } catch {
      // The rules are being made again; what was read last stays.
    }
  }

  /** Believes addresses of an accepted network only when they come out of the tunnel. Never rejects. */
  async addNetwork(network: string): Promise<void> {
    this.#networks.add(network);
    await this.#setNetworks();
  }

  async removeNetwork(network: string): Promise<void> {
    if (this.#networks.delete(network)) await this.#setNetworks();
  }

  /** Sets what members may reach beside this machine. @throws SpliceError */
  async setOffers(offers: readonly FilterOffer[]): Promise<void> {
    await this.#filter?.setOffers(offers);
  }

  /** Removes the rules. Idempotent. */
  close(): void {
    this.#reading?.cancel();
    this.#filter?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #setNetworks(): Promise<void> {
    try {
      await this.#filter?.setNetworks([...this.#networks].flatMap((network) => parseSubnet(network) ?? []));
    } catch (error) {
      this.#log.error(`The accepted networks are not filtered: ${errorMessage(error)}`);
    }
  }
}

function notOffered(cause: unknown): MeshError {
  const code = cause instanceof SpliceError ? CODES[cause.code] : undefined;
  return new MeshError(code ?? 'command-failed', `No network can be offered: ${errorMessage(cause)}`, { cause });
}

const CODES: Partial<Record<SpliceError['code'], MeshErrorCode>> = {
  'nft-missing': 'program-missing',
  'not-permitted': 'permission-denied',
};

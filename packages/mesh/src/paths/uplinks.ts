import { type Clock, errorMessage, type Log, type Random } from '@towpath/core';
import { addressScope, type Endpoint, type Network } from '@towpath/net';
import { ExternalAddress } from './external-address.ts';
import { PathSocket } from './path-socket.ts';

/** A way out of this machine besides the default route: an interface whose own address routes lead out from. */
export interface Uplink {
  readonly name: string;
  readonly family: 4 | 6;
  readonly address: string;
}

export interface UplinksComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
}

export interface UplinksOptions {
  isOwnInterface?: ((name: string) => boolean) | undefined;
  /** STUN servers of IPv4. */
  servers(signal: AbortSignal): Promise<Endpoint[]>;
  /** How long a mapping of a NAT is kept without traffic, ms. */
  keepAliveMs(): number;
  /** A socket or its external address has come or gone. */
  onChange(): void;
}

interface OpenUplink extends Uplink {
  readonly socket: PathSocket;
  readonly external: ExternalAddress | undefined;
}

/** Of each family; every one multiplies the pairs of addresses that are checked. */
const MAX_UPLINKS = 4;

/**
 * Finds the uplinks besides the default one. An interface whose address is routed out through another one (a bridge of
 * containers, a second address without a routing rule of its own) is none.
 */
export async function otherUplinks(
  network: Network,
  isOwnInterface?: (name: string) => boolean,
  signal?: AbortSignal,
): Promise<Uplink[]> {
  const found: Uplink[] = [];
  for (const family of [4, 6] as const) {
    const preferred = await network.defaultRoute({ family, signal });
    const names = new Set([preferred?.interface]);
    for (const { name, address, internal, family: of } of network.interfaces()) {
      const scope = addressScope(address);
      if (of !== family || internal || names.has(name) || isOwnInterface?.(name)) continue;
      if (scope === 'link-local' || (family === 6 && scope !== 'global')) continue;
      const route = await network.defaultRoute({ family, from: address, signal });
      if (route?.interface !== name) continue;
      names.add(name);
      found.push({ name, family, address });
      if (names.size > MAX_UPLINKS) break;
    }
  }
  return found;
}

/**
 * A path socket on each uplink besides the default one, bound to the uplink's address, so that routing rules by source
 * send its datagrams out there. The path sockets of no particular address follow the default route.
 */
export class Uplinks {
  readonly #components: UplinksComponents;
  readonly #options: UplinksOptions;
  readonly #closing = new AbortController();
  #open: OpenUplink[] = [];
  #updating: Promise<void> = Promise.resolve();

  constructor(components: UplinksComponents, options: UplinksOptions) {
    this.#components = components;
    this.#options = options;
    this.update();
  }

  get sockets(): readonly PathSocket[] {
    return this.#open.map(({ socket }) => socket);
  }

  /** The sockets' endpoints as servers see them, as far as they are known. */
  get external(): readonly Endpoint[] {
    return this.#open.map(({ external }) => external?.endpoint).filter((endpoint) => endpoint !== undefined);
  }

  /** Looks for uplinks: the network has changed. */
  update(): void {
    this.#updating = this.#updating
      .then(() => this.#update())
      .catch((error: unknown) => {
        if (!this.#closing.signal.aborted) this.#components.log.debug(`No further uplinks: ${errorMessage(error)}`);
      });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#updating;
    await Promise.all(this.#open.splice(0).map(close));
  }

  async #update(): Promise<void> {
    const { network } = this.#components;
    const { signal } = this.#closing;
    const addresses = new Set(network.interfaces().map(({ address }) => address));
    const gone = this.#open.filter(({ address }) => !addresses.has(address));
    // An uplink that has become the default one keeps its socket: its paths may be in use.
    this.#open = this.#open.filter((each) => !gone.includes(each));
    for (const { external } of this.#open) external?.restart();
    const wanted = await otherUplinks(network, this.#options.isOwnInterface, signal);
    const added = wanted.filter(({ address }) => !this.#open.some((each) => each.address === address));
    for (const uplink of added) {
      const opened = await this.#openUplink(uplink);
      if (opened !== undefined) this.#open.push(opened);
    }
    if (!signal.aborted && gone.length + added.length > 0) this.#options.onChange();
    await Promise.all(gone.map(close));
  }

  async #openUplink(uplink: Uplink): Promise<OpenUplink | undefined> {
    const { network, log } = this.#components;
    try {
      const socket = await PathSocket.open(network, uplink.family, 0, uplink.address);
      const external = uplink.family === 4 ? new ExternalAddress(this.#components, socket, this.#options) : undefined;
      return { ...uplink, socket, external };
    } catch (error) {
      log.debug(`No path socket on ${uplink.name}: ${errorMessage(error)}`);
      return undefined;
    }
  }
}

async function close({ socket, external }: OpenUplink): Promise<void> {
  await external?.close();
  await socket.close();
}

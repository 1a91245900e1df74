import { AbortedError, backoff, type Clock, errorMessage, isAbort, type Log, type Random, Wakeup } from '@towpath/core';
import { type Endpoint, isPrivateAddress, type Network } from '@towpath/net';
import { type MappedPort, PortMapper } from '@towpath/portmap';

export interface PathPortMappingComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
}

/** A router that maps no ports is asked again after these times, ms. */
const AGAIN = { baseMs: 300_000, maxMs: 3_600_000 };

/** Keeps the path socket's port mapped at the router (PCP, NAT-PMP, UPnP), where there is one that does so. */
export class PathPortMapping {
  readonly #components: PathPortMappingComponents;
  readonly #port: number;
  readonly #onChange: () => void;
  readonly #closing = new AbortController();
  readonly #wakeup: Wakeup;
  readonly #running: Promise<void>;
  #mapped: MappedPort | undefined;
  #isLost = false;

  constructor(components: PathPortMappingComponents, port: number, onChange: () => void) {
    this.#components = components;
    this.#port = port;
    this.#onChange = onChange;
    this.#wakeup = new Wakeup(components);
    this.#running = this.#run();
  }

  /** Undefined while no port is mapped, or the router is itself behind a NAT. */
  get external(): Endpoint | undefined {
    const external = this.#isLost ? undefined : this.#mapped?.current.external;
    return external === undefined || isPrivateAddress(external.address) ? undefined : external;
  }

  /** Asks again: the network has changed. A mapping that is held follows the network by itself. */
  restart(): void {
    this.#wakeup.wake();
  }

  /** Deletes the mapping. */
  async close(): Promise<void> {
    this.#closing.abort(new AbortedError('The paths were closed.'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { log, random } = this.#components;
    const waits = backoff({ ...AGAIN, random });
    while (!signal.aborted && this.#mapped === undefined) {
      try {
        this.#mapped = await this.#map(signal);
      } catch (error) {
        if (!isAbort(error)) log.debug(`No port is mapped at the router: ${errorMessage(error)}`);
        await this.#wakeup.wait(waits.next().value ?? AGAIN.maxMs, signal).catch(() => {});
      }
    }
    while (!signal.aborted) await this.#wakeup.wait(AGAIN.maxMs, signal).catch(() => {});
    await this.#mapped?.close();
  }

  async #map(signal: AbortSignal): Promise<MappedPort> {
    const mapper = new PortMapper(this.#components);
    const mapped = await mapper.map({ protocol: 'udp', internalPort: this.#port }, signal);
    const tell = (isLost: boolean) => {
      this.#isLost = isLost;
      this.#onChange();
    };
    mapped.events.on('changed', () => tell(false));
    mapped.events.on('lost', () => tell(true));
    this.#mapped = mapped;
    this.#onChange();
    return mapped;
  }
}

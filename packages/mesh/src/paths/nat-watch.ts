import { AbortedError, type Clock, errorMessage, isAbort, type Log, type Random, Wakeup } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { discoverNat, measureMappingLifetime, type NatReport } from '@towpath/stun';

export interface NatWatchComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
}

export interface NatWatchOptions {
  /** STUN servers of IPv4; asked for at each measurement. */
  servers(signal: AbortSignal): Promise<Endpoint[]>;
  /** Something new is known. */
  onChange(): void;
  /** UDP passes that was found blocked before. */
  onUdp(): void;
}

/** After a failure, or while there are no servers, the next measurement comes so much later, ms. */
const AGAIN_MS = 60_000;
/** An idle path is probed this often until the lifetime of mappings is known, ms: some NATs forget after 30 s. */
const DEFAULT_KEEP_ALIVE_MS = 20_000;

/** Measures the NATs of this machine, again after each change: behaviour at once, the lifetime of mappings behind that. */
export class NatWatch {
  readonly #components: NatWatchComponents;
  readonly #options: NatWatchOptions;
  readonly #closing = new AbortController();
  readonly #wakeup: Wakeup;
  readonly #running: Promise<void>;
  #report: NatReport | undefined;
  #server: Endpoint | undefined;
  /** Number of restarts, and of the one that the report followed. */
  #restarts = 0;
  #reported = -1;
  #keepAliveMs = DEFAULT_KEEP_ALIVE_MS;

  constructor(components: NatWatchComponents, options: NatWatchOptions) {
    this.#components = components;
    this.#options = options;
    this.#wakeup = new Wakeup(components);
    this.#running = this.#run();
  }

  /** Undefined until it was measured. */
  get report(): NatReport | undefined {
    return this.#report;
  }

  /** False while {@link report} may be of the network before. */
  get isCurrent(): boolean {
    return this.#reported === this.#restarts;
  }

  /** A STUN server that answers; undefined until one has. */
  get server(): Endpoint | undefined {
    return this.#server;
  }

  /** How long a path may be idle before its NAT mapping has to be used again, ms. */
  get keepAliveMs(): number {
    return this.#keepAliveMs;
  }

  /** Measures anew: the network or the servers have changed. */
  restart(): void {
    this.#restarts++;
    this.#wakeup.wake();
  }

  async close(): Promise<void> {
    this.#closing.abort(new AbortedError('The paths were closed.'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log } = this.#components;
    while (!this.#closing.signal.aborted) {
      const round = new AbortController();
      const signal = AbortSignal.any([this.#closing.signal, round.signal]);
      let waitMs = AGAIN_MS;
      let lifetime: Promise<void> | undefined;
      try {
        const servers = await this.#options.servers(signal);
        if (servers.length > 0 && (await this.#measure(servers, signal))) {
          waitMs = Number.POSITIVE_INFINITY;
          lifetime = this.#measureLifetime(signal);
        }
      } catch (error) {
        if (!isAbort(error)) log.debug(`The NAT was not measured: ${errorMessage(error)}`);
      }
      await this.#wakeup.wait(waitMs, this.#closing.signal).catch(() => {});
      round.abort(new AbortedError('The NAT is measured anew.'));
      await lifetime;
    }
  }

  async #measure(servers: readonly Endpoint[], signal: AbortSignal): Promise<boolean> {
    const begun = this.#restarts;
    const report = await discoverNat(this.#components, { servers, signal });
    const wasBlocked = this.#report?.udp === false;
    this.#report = report;
    this.#reported = begun;
    this.#server = report.servers.find(({ mapped }) => mapped !== undefined)?.server;
    this.#options.onChange();
    if (wasBlocked && report.udp) this.#options.onUdp();
    return report.udp;
  }

  async #measureLifetime(signal: AbortSignal): Promise<void> {
    const { log } = this.#components;
    this.#keepAliveMs = DEFAULT_KEEP_ALIVE_MS;
    const [server, report] = [this.#server, this.#report];
    if (server === undefined || report === undefined || report.mapping === 'none') return;
    try {
      const { keepAliveMs } = await measureMappingLifetime(this.#components, { server, signal });
      this.#keepAliveMs = keepAliveMs;
      log.debug(`Mappings are used again after ${Math.round(keepAliveMs / 1_000)} s.`);
    } catch (error) {
      if (!isAbort(error)) log.debug(`The lifetime of mappings was not measured: ${errorMessage(error)}`);
    }
  }
}

import { type Clock, deadline, Events, errorMessage, type Log, type Random, Renewal } from '@towpath/core';
import { type Network, type NetworkChange, sameEndpoint } from '@towpath/net';
import { GatewayWatch } from './gateway-watch.ts';
import type { FullRequest, GrantedMapping, HeldMapping, MappedPort, MappedPortEvents, Router } from './mapping.ts';

/** A shorter granted lifetime is treated as this one, to limit the rate of requests. */
const MIN_LIFETIME_MS = 20_000;
/** Time limit of a renewal by the protocol that granted the mapping, ms; then all protocols are tried. */
const RENEW_LIMIT_MS = 5_000;
/** Longest interval between attempts while the mapping is lost, ms: most routers restart within a minute. */
const MAX_RETRY_MS = 10_000;

/** How a mapping is created again. */
export interface Negotiation {
  /** Returns the router on the path now. */
  router(signal?: AbortSignal): Promise<Router>;
  /** Requests the mapping by every protocol. */
  negotiate(router: Router, request: FullRequest, signal?: AbortSignal): Promise<HeldMapping>;
}

interface Components {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** Watches of all mappings of the same mapper. */
  watches: Set<GatewayWatch>;
}

/** A mapping that is renewed in time, and created again when the router restarts or the route changes. */
export class RenewedMapping implements MappedPort {
  readonly events: Events<MappedPortEvents> = new Events();
  readonly #components: Components;
  readonly #negotiation: Negotiation;
  readonly #request: FullRequest;
  readonly #changes: Disposable;
  #held: HeldMapping;
  #renewal: Renewal;
  #watch: GatewayWatch | undefined;
  #closing: Promise<boolean> | undefined;
  /** Settles when replaced renewals and watches have ended. */
  #ending: Promise<void> = Promise.resolve();

  constructor(components: Components, negotiation: Negotiation, request: FullRequest, held: HeldMapping) {
    this.#components = components;
    this.#negotiation = negotiation;
    this.#request = request;
    this.#held = held;
    this.#renewal = this.#startRenewal(lifetimeMs(held.granted));
    this.#watch = this.#watchGateway();
    this.#changes = components.network.changes.subscribe((changes) => {
      if (changes.some(mattersHere)) this.#startAnew('the network changed');
    });
  }

  get current(): GrantedMapping {
    return this.#held.granted;
  }

  close(): Promise<boolean> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<boolean> {
    this.#changes[Symbol.dispose]();
    await this.#renewal.stop();
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#ending;
    const { protocol, granted } = this.#held;
    return protocol.unmap(this.#request, granted);
  }

  /** @param grantedMs rest of the lease; undefined to create the mapping again at once */
  #startRenewal(grantedMs: number | undefined): Renewal {
    const { clock, random, log } = this.#components;
    return new Renewal(
      { clock, random, log },
      {
        name: `port mapping of ${this.#request.protocol} port ${this.#request.internalPort}`,
        grantedMs,
        renew: (signal) => this.#renew(signal),
        maxRetryMs: MAX_RETRY_MS,
        onExpired: (error) => this.events.emit('lost', error),
      },
    );
  }

  /** Creates the mapping again at once and until it succeeds, because the router may have lost it. */
  #startAnew(reason: string): void {
    if (this.#closing !== undefined) return;
    this.#components.log.info(`The port mapping is created again: ${reason}.`);
    this.#endLater(this.#renewal.stop());
    this.#renewal = this.#startRenewal(undefined);
  }

  async #renew(signal: AbortSignal): Promise<number> {
    const before = this.#held;
    const router = await this.#negotiation.router(signal);
    const same = router.gateway === before.router.gateway && router.localAddress === before.router.localAddress;
    const held = same ? await this.#renewAt(before, signal) : await this.#moveTo(router, before, signal);
    signal.throwIfAborted();
    this.#take(before, held);
    return lifetimeMs(held.granted);
  }

  async #renewAt(before: HeldMapping, signal: AbortSignal): Promise<HeldMapping> {
    const { router, protocol } = before;
    try {
      using limit = deadline(this.#components.clock, RENEW_LIMIT_MS, signal);
      return { router, protocol, granted: await protocol.map(this.#wanted(), limit.signal, before.granted) };
    } catch (error) {
      signal.throwIfAborted();
      this.#components.log.debug(`The mapping was not renewed by ${protocol.name}: ${errorMessage(error)}`);
      return this.#negotiation.negotiate(router, this.#wanted(), signal);
    }
  }

  async #moveTo(router: Router, before: HeldMapping, signal: AbortSignal): Promise<HeldMapping> {
    const held = await this.#negotiation.negotiate(router, this.#wanted(), signal);
    // The old router may be unreachable; its lease expires then.
    await before.protocol.unmap(this.#request, before.granted);
    return held;
  }

  /** Requests the current external port, so that it stays the same (RFC 6886 §3.3). */
  #wanted(): FullRequest {
    return { ...this.#request, suggestedExternalPort: this.#held.granted.external.port };
  }

  #take(before: HeldMapping, held: HeldMapping): void {
    this.#held = held;
    if (held.protocol === before.protocol) this.#watch?.granted(held.granted);
    else {
      if (this.#watch) this.#endLater(this.#watch[Symbol.asyncDispose]());
      this.#watch = this.#watchGateway();
    }
    if (!sameEndpoint(held.granted.external, before.granted.external)) this.events.emit('changed', held.granted);
  }

  #endLater(ended: Promise<void>): void {
    const before = this.#ending;
    this.#ending = Promise.all([before, ended]).then(() => undefined);
  }

  #watchGateway(): GatewayWatch | undefined {
    const { router, protocol, granted } = this.#held;
    if (router.gateway === undefined) return undefined;
    return new GatewayWatch(this.#components, {
      gateway: router.gateway,
      granted,
      ask: protocol.epoch && ((signal) => protocol.epoch!(this.#wanted(), this.#held.granted, signal)),
      onRestart: (reason) => this.#startAnew(`the gateway restarted (${reason})`),
    });
  }
}

function lifetimeMs(granted: GrantedMapping): number {
  return Math.max(MIN_LIFETIME_MS, granted.lifetimeMs);
}

/** Returns whether the mapping may be lost, or the router another one, after this change. */
function mattersHere(change: NetworkChange): boolean {
  if (change.kind === 'sleep') return true;
  if (change.kind === 'default-route-changed') return change.family === 4;
  return (change.kind === 'address-added' || change.kind === 'address-removed') && change.family === 4;
}

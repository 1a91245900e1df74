import { deadline, errorMessage, evenSchedule, type Log, retransmit } from '@towpath/core';
import { type GatewayComponents, onLink } from './gateway-exchange.ts';
import { exchangeHttp } from './http-exchange.ts';
import {
  type FullRequest,
  type GrantedMapping,
  type MappingProtocol,
  type Router,
  unusableEndpoint,
} from './mapping.ts';
import { PortmapError } from './portmap-error.ts';
import { encodeGatewaySearch, readGatewayAnswer, SSDP_GROUP, SSDP_PORT } from './ssdp.ts';
import {
  type ControlPoint,
  encodeAction,
  readArgument,
  readDescription,
  readDeviceUrl,
  readFault,
  UpnpErrorCode,
} from './upnp.ts';

/** Interval and number of searches: multicast is often lost on Wi-Fi. Devices may delay answers by a second (MX). */
const SEARCH_EVERY_MS = 500;
const SEARCHES = 5;
/** Variants of the request to try for one mapping: another port, a permanent lease, equal ports. */
const MAX_TRIES = 6;
/** WANIPConnection:2 §2.3.16: leases last a week at most. */
const MAX_LEASE_S = 604_800;
/** Time limit for deleting a mapping on close, ms: the lease expires anyway. */
const UNMAP_LIMIT_MS = 1_500;
/** Number of services of one router to try. */
const MAX_CONTROL_POINTS = 8;

/** Refusals of a lease: 725 as specified; some routers send 402 or 501 instead. */
const LEASE_REFUSALS: ReadonlySet<number> = new Set([
  UpnpErrorCode.OnlyPermanentLeases,
  UpnpErrorCode.InvalidArgs,
  UpnpErrorCode.ActionFailed,
]);

/** UPnP IGD, versions 1 and 2. */
export class UpnpProtocol implements MappingProtocol {
  readonly name = 'upnp';
  readonly #components: GatewayComponents & { log: Log };
  readonly #router: Router;
  /** The WAN service that created the mapping. */
  #control: ControlPoint | undefined;
  #permanent = false;

  /** @param router the only router to use; answers of others are ignored */
  constructor(components: GatewayComponents & { log: Log }, router: Router) {
    this.#components = components;
    this.#router = router;
  }

  async map(request: FullRequest, signal: AbortSignal, held?: GrantedMapping): Promise<GrantedMapping> {
    const known = this.#control;
    if (known !== undefined) {
      try {
        return await this.#mapAt(known, request, signal, held);
      } catch {
        signal.throwIfAborted();
        // Routers that restart may change their paths: search again.
      }
    }
    const failures: unknown[] = [];
    for (const control of await this.#find(signal)) {
      try {
        return await this.#mapAt(control, request, signal, held);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
      }
    }
    throw failures[0];
  }

  async unmap(request: FullRequest, { external }: GrantedMapping): Promise<boolean> {
    const { clock, log } = this.#components;
    if (this.#control === undefined) return false;
    using limit = deadline(clock, UNMAP_LIMIT_MS);
    try {
      await this.#remove(this.#control, request, external.port, limit.signal);
      return true;
    } catch (error) {
      log.debug(`Cannot delete the UPnP mapping; it will expire: ${errorMessage(error)}`);
      return false;
    }
  }

  async #mapAt(
    control: ControlPoint,
    request: FullRequest,
    signal: AbortSignal,
    held: GrantedMapping | undefined,
  ): Promise<GrantedMapping> {
    // The connection of the first action shows our address as the gateway must see it.
    const { body, localAddress } = await this.#act(control, 'GetExternalIPAddress', {}, signal);
    const address = readArgument(body, 'NewExternalIPAddress') ?? '0.0.0.0';
    const useless = unusableEndpoint({ address, port: 1 });
    if (useless) throw refused(control, useless);
    const port = await this.#add(control, request, localAddress, signal, held);
    this.#control = control;
    return { via: 'upnp', external: { address, port }, lifetimeMs: request.lifetimeMs };
  }

  /** @returns the external port */
  async #add(
    control: ControlPoint,
    request: FullRequest,
    localAddress: string,
    signal: AbortSignal,
    held: GrantedMapping | undefined,
  ): Promise<number> {
    let leaseS = this.#permanent ? 0 : Math.min(MAX_LEASE_S, Math.ceil(request.lifetimeMs / 1_000));
    let port = request.suggestedExternalPort;
    let replaced = false;
    for (let tries = 1; ; tries++) {
      try {
        await this.#act(control, 'AddPortMapping', addFields(request, localAddress, port, leaseS), signal);
        // Known only now: a router that starts refuses everything with the same codes.
        this.#permanent = leaseS === 0;
        return port;
      } catch (error) {
        const code = error instanceof UpnpFault ? error.fault : undefined;
        if (code === undefined || tries >= MAX_TRIES) throw error;
        if (code === UpnpErrorCode.ConflictInMapping) {
          // Some routers report the renewal of our own rule as a conflict: delete it and create it again.
          if (!replaced && (await this.#isOwn(control, request, localAddress, port, signal, held))) {
            replaced = true;
            await this.#remove(control, request, port, signal);
          } else port = this.#components.random.integer(1_024, 65_535);
        } else if (code === UpnpErrorCode.ConflictWithOtherMechanisms) {
          port = this.#components.random.integer(1_024, 65_535);
        } else if (code === UpnpErrorCode.SamePortValuesRequired && port !== request.internalPort) {
          port = request.internalPort;
        } else if (LEASE_REFUSALS.has(code) && leaseS > 0) {
          // `unmap` deletes a permanent rule; until then it is renewed like others.
          leaseS = 0;
        } else throw error;
      }
    }
  }

  /** Returns whether the rule on the external port is ours: as the router reports it, otherwise whether we hold it. */
  async #isOwn(
    control: ControlPoint,
    { protocol, internalPort }: FullRequest,
    localAddress: string,
    port: number,
    signal: AbortSignal,
    held: GrantedMapping | undefined,
  ): Promise<boolean> {
    const fields = { NewRemoteHost: '', NewExternalPort: port, NewProtocol: protocol.toUpperCase() };
    try {
      const { body } = await this.#act(control, 'GetSpecificPortMappingEntry', fields, signal);
      const client = readArgument(body, 'NewInternalClient');
      return client === localAddress && Number(readArgument(body, 'NewInternalPort')) === internalPort;
    } catch (error) {
      if (!(error instanceof UpnpFault)) throw error;
      return held?.external.port === port;
    }
  }

  async #remove(control: ControlPoint, { protocol }: FullRequest, port: number, signal: AbortSignal): Promise<void> {
    const fields = { NewRemoteHost: '', NewExternalPort: port, NewProtocol: protocol.toUpperCase() };
    try {
      await this.#act(control, 'DeletePortMapping', fields, signal);
    } catch (error) {
      // It was deleted already.
      if (error instanceof UpnpFault && error.fault === UpnpErrorCode.NoSuchEntry) return;
      throw error;
    }
  }

  /** @throws UpnpFault when the gateway refuses, and as {@link exchangeHttp} does. */
  async #act(
    { service, endpoint, path }: ControlPoint,
    action: string,
    fields: Readonly<Record<string, string | number>>,
    signal: AbortSignal,
  ): Promise<{ body: string; localAddress: string }> {
    const request = { method: 'POST', path, ...encodeAction(service, action, fields) } as const;
    const answer = await exchangeHttp(this.#components.network, endpoint, request, signal);
    // Some routers send a refusal with status 200.
    const fault = readFault(answer.body);
    if (answer.status === 200 && fault === undefined) return answer;
    const { code, description } = fault ?? { code: answer.status, description: 'HTTP error' };
    throw new UpnpFault(endpoint.address, action, code, description);
  }

  /** @throws PortmapError `no-answer` or `bad-answer`; NetError; the signal's reason. */
  async #find(signal: AbortSignal): Promise<ControlPoint[]> {
    const location = await this.#search(signal);
    const place = readDeviceUrl(location)!;
    const { network } = this.#components;
    const { status, body } = await exchangeHttp(network, place.endpoint, { method: 'GET', path: place.path }, signal);
    const controls = status === 200 ? readDescription(body, location) : [];
    if (controls.length > 0) return controls.slice(0, MAX_CONTROL_POINTS);
    const target = place.endpoint.address;
    throw new PortmapError('bad-answer', `The UPnP device ${target} has no port mapping service.`, { target });
  }

  /** Returns the URL of the description of the router on the path. */
  async #search(signal: AbortSignal): Promise<string> {
    const { network, clock } = this.#components;
    const { gateway, localAddress } = this.#router;
    const found = Promise.withResolvers<string>();
    const others = new Set<string>();
    await using socket = await network.bindUdp({
      address: localAddress,
      signal,
      onMessage(data) {
        const location = readGatewayAnswer(data);
        const address = location === undefined ? undefined : readDeviceUrl(location)?.endpoint.address;
        if (location === undefined || address === undefined) return;
        if (isRouter(address)) found.resolve(location);
        else if (others.size < MAX_OTHERS) others.add(address);
      },
    });
    // Other descriptions are not fetched: an answer must not lead to another router or a third party.
    const isRouter = (address: string) =>
      gateway === undefined ? onLink(network, localAddress, address) : address === gateway;
    return await retransmit({
      clock,
      schedule: evenSchedule(SEARCH_EVERY_MS, SEARCHES),
      send: () => {
        socket.send(encodeGatewaySearch(SSDP_GROUP), { address: SSDP_GROUP, port: SSDP_PORT });
        if (gateway !== undefined) socket.send(encodeGatewaySearch(gateway), { address: gateway, port: SSDP_PORT });
      },
      answer: found.promise,
      signal,
      timeoutError: () => new PortmapError('no-answer', noRouter(gateway, [...others])),
    });
  }
}

/** Number of other UPnP gateways that an error names. */
const MAX_OTHERS = 4;

function noRouter(gateway: string | undefined, others: readonly string[]): string {
  if (others.length === 0) return 'No UPnP gateway answered on this network.';
  const who = others.join(', ');
  return `UPnP answers came from ${who}, but not from the router on the path, ${gateway ?? 'in this network'}.`;
}

function addFields(
  { protocol, internalPort }: FullRequest,
  localAddress: string,
  port: number,
  leaseS: number,
): Record<string, string | number> {
  return {
    NewRemoteHost: '',
    NewExternalPort: port,
    NewProtocol: protocol.toUpperCase(),
    NewInternalPort: internalPort,
    NewInternalClient: localAddress,
    NewEnabled: 1,
    NewPortMappingDescription: 'towpath',
    NewLeaseDuration: leaseS,
  };
}

/** A UPnP error: the gateway refused the action. */
class UpnpFault extends PortmapError {
  readonly fault: number;

  constructor(target: string, action: string, fault: number, description: string) {
    const why = `${fault} ${description.slice(0, 100)}`;
    super('gateway-refused', `The gateway ${target} refused ${action} by UPnP: ${why}.`, { target });
    this.fault = fault;
  }
}

function refused({ endpoint }: ControlPoint, why: string): PortmapError {
  const target = endpoint.address;
  return new PortmapError('gateway-refused', `The gateway ${target} cannot map ports by UPnP: ${why}.`, { target });
}

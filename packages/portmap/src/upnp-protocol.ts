import { errorMessage, type Log } from '@towpath/core';
import { isIpAddress, isUnspecified, type UdpSocket } from '@towpath/net';
import { type GatewayComponents, localAddressTowards } from './gateway-exchange.ts';
import { exchangeHttp } from './http-exchange.ts';
import type { GrantedMapping, MappingProtocol, MappingRequest } from './mapping.ts';
import { PortmapError } from './portmap-error.ts';
import { encodeGatewaySearch, readGatewayAnswer, SSDP_GROUP, SSDP_PORT } from './ssdp.ts';
import {
  type ControlPoint,
  element,
  encodeAction,
  readDescription,
  readDeviceUrl,
  readFault,
  UpnpErrorCode,
} from './upnp.ts';

type Request = Required<MappingRequest>;

/** When searches are sent, ms: multicast gets lost on Wi-Fi. */
const SEARCHES_MS = [0, 300, 900] as const;
const SEARCH_LIMIT_MS = 2_500;
/** External ports that are tried when somebody else has the wanted one. */
const MAX_PORTS = 4;
/** WANIPConnection:2 §2.3.16: leases last a week at most. */
const MAX_LEASE_S = 604_800;
/** How long removing a mapping may take on the way out, ms: the lease ends by itself anyway. */
const UNMAP_LIMIT_MS = 700;

/** UPnP IGD, versions 1 and 2. */
export class UpnpProtocol implements MappingProtocol {
  readonly name = 'upnp';
  readonly #components: GatewayComponents & { log: Log };
  readonly #gateway: string | undefined;
  #control: ControlPoint | undefined;

  /** @param gateway the router's address, where it is known: it is also searched for without multicast. */
  constructor(components: GatewayComponents & { log: Log }, gateway: string | undefined) {
    this.#components = components;
    this.#gateway = gateway;
  }

  async map(request: Request, signal: AbortSignal): Promise<GrantedMapping> {
    const known = this.#control;
    try {
      return await this.#map(known ?? (await this.#find(signal)), request, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (known === undefined) throw error;
      // Gateways that restart change their paths: one look whether there is another.
      return this.#map(await this.#find(signal), request, signal);
    }
  }

  async unmap({ protocol }: Request, { external }: GrantedMapping): Promise<void> {
    const { clock, log } = this.#components;
    const limit = new AbortController();
    using _timer = clock.timer(UNMAP_LIMIT_MS, () => limit.abort(new PortmapError('no-answer', 'No time left.')));
    try {
      if (this.#control === undefined) return;
      await this.#act(
        this.#control,
        'DeletePortMapping',
        { NewRemoteHost: '', NewExternalPort: external.port, NewProtocol: protocol.toUpperCase() },
        limit.signal,
      );
    } catch (error) {
      log.debug(`The UPnP mapping could not be removed and will expire: ${errorMessage(error)}`);
    }
  }

  async #map(control: ControlPoint, request: Request, signal: AbortSignal): Promise<GrantedMapping> {
    const { random } = this.#components;
    // The connection of the first action tells our own address as the gateway must see it.
    const { body, localAddress } = await this.#act(control, 'GetExternalIPAddress', {}, signal);
    const address = element(body, 'NewExternalIPAddress') ?? '';
    if (!isIpAddress(address) || isUnspecified(address)) {
      throw refused(control, 'it has no address outside');
    }
    this.#control = control;
    let leaseS = Math.min(MAX_LEASE_S, Math.ceil(request.lifetimeMs / 1_000));
    let port = request.suggestedExternalPort;
    for (let tries = 1; ; tries++) {
      try {
        await this.#act(
          control,
          'AddPortMapping',
          {
            NewRemoteHost: '',
            NewExternalPort: port,
            NewProtocol: request.protocol.toUpperCase(),
            NewInternalPort: request.internalPort,
            NewInternalClient: localAddress,
            NewEnabled: 1,
            NewPortMappingDescription: 'towpath',
            NewLeaseDuration: leaseS,
          },
          signal,
        );
        return { via: 'upnp', external: { address, port }, lifetimeMs: request.lifetimeMs };
      } catch (error) {
        const code = error instanceof UpnpFault ? error.fault : undefined;
        if (tries >= MAX_PORTS) throw error;
        // A lease without end is taken away by `unmap`, and looked after until then like any other.
        if (code === UpnpErrorCode.OnlyPermanentLeases && leaseS > 0) leaseS = 0;
        else if (code === UpnpErrorCode.ConflictInMapping) port = random.integer(1_024, 65_535);
        else throw error;
      }
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
    if (answer.status === 200) return answer;
    const { code, description } = readFault(answer.body) ?? { code: answer.status, description: 'an error of HTTP' };
    throw new UpnpFault(endpoint.address, action, code, description);
  }

  /** @throws PortmapError `no-answer` or `bad-answer`; NetError; the signal's reason. */
  async #find(signal: AbortSignal): Promise<ControlPoint> {
    const location = await this.#search(signal);
    const place = readDeviceUrl(location)!;
    const { network } = this.#components;
    const { status, body } = await exchangeHttp(network, place.endpoint, { method: 'GET', path: place.path }, signal);
    const control = status === 200 ? readDescription(body, location) : undefined;
    if (control !== undefined) return control;
    const target = place.endpoint.address;
    throw new PortmapError('bad-answer', `The UPnP device ${target} describes nothing that maps ports.`, { target });
  }

  /** Where the description of the first gateway is that answers. */
  async #search(signal: AbortSignal): Promise<string> {
    const { network, clock } = this.#components;
    const gateway = this.#gateway;
    const found = Promise.withResolvers<string>();
    await using socket: UdpSocket = await network.bindUdp({
      address: gateway === undefined ? undefined : localAddressTowards(network, gateway),
      signal,
      onMessage(data, from) {
        const location = readGatewayAnswer(data);
        // Descriptions elsewhere are not fetched: an answer must not send us to a third party.
        if (location !== undefined && readDeviceUrl(location)?.endpoint.address === from.address)
          found.resolve(location);
      },
    });
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const searching = (async (): Promise<never> => {
      let elapsedMs = 0;
      const wait = async (until: number) => {
        await clock.sleep(until - elapsedMs, either);
        elapsedMs = until;
      };
      for (const at of SEARCHES_MS) {
        await wait(at);
        socket.send(encodeGatewaySearch(SSDP_GROUP), { address: SSDP_GROUP, port: SSDP_PORT });
        if (gateway !== undefined) socket.send(encodeGatewaySearch(gateway), { address: gateway, port: SSDP_PORT });
      }
      await wait(SEARCH_LIMIT_MS);
      throw new PortmapError('no-answer', 'No UPnP gateway answered on this network.');
    })();
    try {
      return await Promise.race([found.promise, searching]);
    } finally {
      over.abort();
      // Ended by the line above, or over already; a failure was thrown by the race.
      await searching.catch(() => undefined);
    }
  }
}

/** A UPnP error: the gateway understood the action and said no. */
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

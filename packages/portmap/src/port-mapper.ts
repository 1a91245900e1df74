import { type Candidate, type Clock, type Log, type Random, race, silentLog } from '@towpath/core';
import type { Network } from '@towpath/net';
import { GATEWAY_PORT, localAddressTowards } from './gateway-exchange.ts';
import { GatewayProtocol } from './gateway-protocol.ts';
import type { GatewayWatch } from './gateway-watch.ts';
import type { FullRequest, HeldMapping, MappedPort, MappingProtocol, MappingRequest, Router } from './mapping.ts';
import { PortmapError } from './portmap-error.ts';
import { RenewedMapping } from './renewed-mapping.ts';
import { UpnpProtocol } from './upnp-protocol.ts';

export interface PortMapperComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface PortMapperOptions {
  /** The gateway. @default the router on the default route, or on the route of `internalAddress` */
  gateway?: string | undefined;
  /** Port of PCP and NAT-PMP. @default 5351 */
  gatewayPort?: number | undefined;
  /** Also use UPnP. @default true */
  upnp?: boolean;
  /** Time limit of the first mapping, ms. @default 5000 */
  limitMs?: number;
}

/** RFC 6886 §3.3: the recommended lifetime, two hours. */
const DEFAULT_LIFETIME_MS = 7_200_000;
/** PCP has 1.3 s before NAT-PMP starts, which takes two requests. */
const DEFAULT_LIMIT_MS = 5_000;

/** Maps ports at the router on the path, by PCP or NAT-PMP, or by UPnP, whichever answers first. */
export class PortMapper {
  readonly #components: PortMapperComponents & { log: Log };
  readonly #options: PortMapperOptions;
  readonly #watches = new Set<GatewayWatch>();

  constructor(components: PortMapperComponents, options: PortMapperOptions = {}) {
    this.#components = { ...components, log: components.log ?? silentLog };
    this.#options = options;
  }

  /**
   * Maps one port: leases are renewed at half their lifetime (RFC 6886 §3.3), created again when the router restarts or
   * the route changes, and deleted on close.
   * @throws PortmapError `no-gateway` when no router is on the path, `no-mapping` when no protocol works here, with the
   *   reason of each; the signal's reason.
   */
  async map(request: MappingRequest, signal?: AbortSignal): Promise<MappedPort> {
    const full: FullRequest = {
      protocol: request.protocol,
      internalPort: request.internalPort,
      suggestedExternalPort: request.suggestedExternalPort ?? request.internalPort,
      lifetimeMs: request.lifetimeMs ?? DEFAULT_LIFETIME_MS,
    };
    const negotiation = {
      router: (ended?: AbortSignal) => this.#router(request.internalAddress, ended),
      negotiate: (router: Router, wanted: FullRequest, ended?: AbortSignal) => this.#negotiate(router, wanted, ended),
    };
    const held = await negotiation.negotiate(await negotiation.router(signal), full, signal);
    return new RenewedMapping({ ...this.#components, watches: this.#watches }, negotiation, full, held);
  }

  /** @throws PortmapError `no-gateway`; the signal's reason */
  async #router(from: string | undefined, signal: AbortSignal | undefined): Promise<Router> {
    const { network } = this.#components;
    const { gateway } = this.#options;
    if (gateway !== undefined) {
      const localAddress = from ?? localAddressTowards(network, gateway);
      if (localAddress !== undefined) return { gateway, localAddress };
    }
    const route = await network.defaultRoute({ family: 4, from, signal });
    if (route === undefined) {
      throw new PortmapError('no-gateway', 'This host has no default route. Next: connect it to a network.');
    }
    const { source } = route;
    if (gateway !== undefined || route.gateway !== undefined) {
      return { gateway: gateway ?? route.gateway, localAddress: source };
    }
    // The other end of a point-to-point link (VPN) is not a router that maps ports.
    const own = network.interfaces().find(({ address }) => address === source);
    if (own !== undefined && own.prefixLength < 31) return { gateway: undefined, localAddress: source };
    const message = `The route uses ${route.interface}, a point-to-point link such as a VPN, without a router that maps ports.`;
    throw new PortmapError('no-gateway', `${message} Next: give the gateway's address, or use another interface.`);
  }

  async #negotiate(router: Router, request: FullRequest, signal: AbortSignal | undefined): Promise<HeldMapping> {
    const candidates = this.#protocols(router).map(
      (protocol): Candidate<HeldMapping> => ({
        id: protocol.name,
        kind: protocol.name,
        label: protocol.name,
        connect: async (context) => ({ router, protocol, granted: await protocol.map(request, context.signal) }),
      }),
    );
    const { clock, log } = this.#components;
    const result = await race(
      candidates,
      { clock, log },
      {
        limitMs: this.#options.limitMs ?? DEFAULT_LIMIT_MS,
        undo: async ({ protocol, granted }) => {
          await protocol.unmap(request, granted);
        },
        signal,
      },
    ).result;
    if (result.ok) return result.path;
    signal?.throwIfAborted();
    const reasons = result.report.attempts.map(({ label, error }) => `${label}: ${error?.message ?? 'no answer'}`);
    throw new PortmapError('no-mapping', `No port could be mapped. ${reasons.join(' ')}`);
  }

  #protocols(router: Router): MappingProtocol[] {
    const { gateway, localAddress } = router;
    const { gatewayPort = GATEWAY_PORT, upnp = true } = this.#options;
    const protocols: MappingProtocol[] = [];
    if (gateway !== undefined) {
      protocols.push(new GatewayProtocol(this.#components, { address: gateway, port: gatewayPort }, localAddress));
    }
    if (upnp) protocols.push(new UpnpProtocol(this.#components, router));
    if (protocols.length > 0) return protocols;
    throw new PortmapError('no-gateway', 'No default gateway found. Next: give its address.');
  }
}

import type { Log } from '@towpath/core';
import { errorMessage } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { askGateway, type GatewayComponents } from './gateway-exchange.ts';
import type { GrantedMapping, MappingProtocol, MappingRequest } from './mapping.ts';
import {
  decodeNatPmp,
  encodeAddressRequest,
  encodeMapRequest,
  NAT_PMP_VERSION,
  NatPmpResult,
  type NatPmpResponse,
} from './nat-pmp.ts';
import { decodePcp, encodePcpMap, PCP_NONCE_BYTES, PCP_UNSUPPORTED_VERSION, PcpResult } from './pcp.ts';
import { PortmapError } from './portmap-error.ts';

type Request = Required<MappingRequest>;

/** How long removing a mapping may take on the way out, ms: the lease ends by itself anyway. */
const UNMAP_LIMIT_MS = 700;

/**
 * PCP, and NAT-PMP where the gateway only speaks that: both live on one port, and a gateway of the older protocol
 * answers a PCP request with its own version (RFC 6887 §9), so one exchange decides.
 */
export class GatewayProtocol implements MappingProtocol {
  readonly name = 'gateway';
  readonly #components: GatewayComponents & { log: Log };
  readonly #gateway: Endpoint;
  readonly #nonces = new Map<string, Uint8Array>();

  constructor(components: GatewayComponents & { log: Log }, gateway: Endpoint) {
    this.#components = components;
    this.#gateway = gateway;
  }

  async map(request: Request, signal: AbortSignal): Promise<GrantedMapping> {
    const granted = await this.#mapByPcp(request, signal);
    return granted ?? this.#mapByNatPmp(request, signal);
  }

  async unmap(request: Request, granted: GrantedMapping): Promise<void> {
    const { clock, log } = this.#components;
    const limit = new AbortController();
    using _timer = clock.timer(UNMAP_LIMIT_MS, () => limit.abort(new PortmapError('no-answer', 'No time left.')));
    const gone = {
      ...request,
      lifetimeMs: 0,
      suggestedExternalPort: granted.via === 'pcp' ? granted.external.port : 0,
    };
    try {
      if (granted.via === 'pcp') await this.#mapByPcp(gone, limit.signal);
      else await this.#askNatPmp(encodeMapRequest(natPmpFields(gone)), 'mapping', limit.signal);
    } catch (error) {
      log.debug(`The mapping could not be removed and will expire: ${errorMessage(error)}`);
    }
  }

  /** Undefined when the gateway speaks another version. */
  async #mapByPcp(request: Request, signal: AbortSignal): Promise<GrantedMapping | undefined> {
    const nonce = this.#nonceOf(request);
    const answer = await askGateway(
      this.#components,
      this.#gateway,
      (clientAddress) =>
        encodePcpMap({
          protocol: request.protocol,
          clientAddress,
          nonce,
          internalPort: request.internalPort,
          suggestedExternalPort: request.suggestedExternalPort,
          lifetimeS: Math.ceil(request.lifetimeMs / 1_000),
        }),
      (data) => {
        if (data[0] === NAT_PMP_VERSION) return 'older' as const;
        const decoded = decodePcp(data);
        if ('failure' in decoded) return undefined;
        if (decoded.type === 'mapping' && !sameMapping(decoded, request, nonce)) return undefined;
        return decoded;
      },
      signal,
    );
    if (answer === 'older') return undefined;
    if (answer.type === 'refused') {
      if (answer.result === PCP_UNSUPPORTED_VERSION) return undefined;
      throw this.#refused('PCP', PcpResult[answer.result] ?? `result ${answer.result}`);
    }
    const external = { address: answer.externalAddress, port: answer.externalPort };
    return { via: 'pcp', external, lifetimeMs: answer.lifetimeS * 1_000 };
  }

  async #mapByNatPmp(request: Request, signal: AbortSignal): Promise<GrantedMapping> {
    const address = await this.#askNatPmp(encodeAddressRequest(), 'external-address', signal);
    const mapping = await this.#askNatPmp(encodeMapRequest(natPmpFields(request)), 'mapping', signal);
    return {
      via: 'nat-pmp',
      external: { address: address.address, port: mapping.externalPort },
      lifetimeMs: mapping.lifetimeS * 1_000,
    };
  }

  async #askNatPmp<Type extends NatPmpResponse['type']>(
    datagram: Uint8Array,
    type: Type,
    signal: AbortSignal,
  ): Promise<Extract<NatPmpResponse, { type: Type }>> {
    const answer = await askGateway(
      this.#components,
      this.#gateway,
      () => datagram,
      (data) => {
        const decoded = decodeNatPmp(data);
        return 'failure' in decoded || decoded.type !== type ? undefined : decoded;
      },
      signal,
    );
    if (answer.result !== 0) throw this.#refused('NAT-PMP', NatPmpResult[answer.result] ?? `result ${answer.result}`);
    return answer as Extract<NatPmpResponse, { type: Type }>;
  }

  #nonceOf({ protocol, internalPort }: Request): Uint8Array {
    const key = `${protocol}:${internalPort}`;
    const known = this.#nonces.get(key);
    if (known) return known;
    const fresh = this.#components.random.bytes(PCP_NONCE_BYTES);
    this.#nonces.set(key, fresh);
    return fresh;
  }

  #refused(protocol: string, reason: string): PortmapError {
    const { address } = this.#gateway;
    return new PortmapError('gateway-refused', `The gateway ${address} refused by ${protocol}: ${reason}.`, {
      target: address,
    });
  }
}

function natPmpFields({ protocol, internalPort, suggestedExternalPort, lifetimeMs }: Request) {
  return { protocol, internalPort, suggestedExternalPort, lifetimeS: Math.ceil(lifetimeMs / 1_000) };
}

/** RFC 6887 §11.4: an answer belongs to a request when protocol, internal port and nonce are the same. */
function sameMapping(
  answer: { protocol: string; internalPort: number; nonce: Uint8Array },
  request: Request,
  nonce: Uint8Array,
): boolean {
  if (answer.protocol !== request.protocol || answer.internalPort !== request.internalPort) return false;
  return answer.nonce.every((byte, at) => byte === nonce[at]);
}

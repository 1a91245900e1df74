import { deadline, errorCode, errorMessage, type Log } from '@towpath/core';
import { addressScope, type Endpoint, formatEndpoint } from '@towpath/net';
import { type Accepted, askGateway, type GatewayComponents } from './gateway-exchange.ts';
import { type FullRequest, type GrantedMapping, type MappingProtocol, unusableEndpoint } from './mapping.ts';
import {
  decodeNatPmp,
  encodeAddressRequest,
  encodeMapRequest,
  NAT_PMP_VERSION,
  NatPmpResult,
  type NatPmpResponse,
} from './nat-pmp.ts';
import {
  decodePcp,
  decodePcpAnnounce,
  encodePcpAnnounce,
  encodePcpMap,
  PCP_NONCE_BYTES,
  PCP_UNSUPPORTED_VERSION,
  type PcpResponse,
  PcpResult,
} from './pcp.ts';
import { PortmapError } from './portmap-error.ts';

/** Time limit for deleting a mapping on close, ms: the lease expires anyway. */
const UNMAP_LIMIT_MS = 1_200;

/**
 * PCP, with NAT-PMP as fallback: both use one port. A gateway with NAT-PMP only answers a PCP request with its own version
 * (RFC 6887 §9) or not at all; NAT-PMP is used in both cases.
 */
export class GatewayProtocol implements MappingProtocol {
  readonly name = 'gateway';
  readonly #components: GatewayComponents & { log: Log };
  readonly #gateway: Endpoint;
  readonly #localAddress: string;
  readonly #nonces = new Map<string, Uint8Array>();

  constructor(components: GatewayComponents & { log: Log }, gateway: Endpoint, localAddress: string) {
    this.#components = components;
    this.#gateway = gateway;
    this.#localAddress = localAddress;
  }

  async map(request: FullRequest, signal: AbortSignal, held?: GrantedMapping): Promise<GrantedMapping> {
    if (held?.via === 'nat-pmp') {
      try {
        return await this.#mapByNatPmp(request, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (errorCode(error) === 'gateway-refused') throw error;
      }
    }
    let silence: unknown;
    try {
      const granted = await this.#mapByPcp(request, signal);
      if (granted) return granted;
    } catch (error) {
      signal.throwIfAborted();
      if (errorCode(error) !== 'no-answer') throw error;
      silence = error;
    }
    try {
      return await this.#mapByNatPmp(request, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw errorCode(error) === 'no-answer' ? (silence ?? error) : error;
    }
  }

  async unmap(request: FullRequest, granted: GrantedMapping): Promise<boolean> {
    const { clock, log } = this.#components;
    using limit = deadline(clock, UNMAP_LIMIT_MS);
    // RFC 6886 §3.4, RFC 6887 §15.1 with erratum 3621: the external port is 0, the address all zeros.
    const gone = { ...request, lifetimeMs: 0, suggestedExternalPort: 0 };
    try {
      if (granted.via === 'pcp') return (await this.#mapByPcp(gone, limit.signal, granted)) !== undefined;
      await this.#askNatPmp(encodeMapRequest(natPmpFields(gone)), 'mapping', limit.signal, gone);
      return true;
    } catch (error) {
      log.debug(`Cannot delete the mapping; it will expire: ${errorMessage(error)}`);
      return false;
    }
  }

  async epoch(request: FullRequest, { via }: GrantedMapping, signal: AbortSignal): Promise<number | undefined> {
    if (via === 'nat-pmp') return (await this.#askNatPmp(encodeAddressRequest(), 'external-address', signal)).epochS;
    try {
      const announced = await this.#ask(
        encodePcpAnnounce,
        (data) => {
          const answer = decodePcpAnnounce(data);
          return answer && { answer };
        },
        signal,
      );
      return announced.epochS;
    } catch (error) {
      signal.throwIfAborted();
      if (errorCode(error) !== 'no-answer') throw error;
    }
    // §8.5: every answer has the epoch time. Gateways that ignore ANNOUNCE tell it in the answer to a renewal only.
    return (await this.#mapByPcp(request, signal))?.epochS;
  }

  /**
   * Returns undefined when the gateway uses another version.
   * @param deleted the mapping to delete, where the lifetime is 0
   */
  async #mapByPcp(
    request: FullRequest,
    signal: AbortSignal,
    deleted?: GrantedMapping,
  ): Promise<GrantedMapping | undefined> {
    const { protocol, internalPort, suggestedExternalPort } = request;
    const nonce = this.#nonceOf(request);
    const lifetimeS = Math.ceil(request.lifetimeMs / 1_000);
    const build = (clientAddress: string) =>
      encodePcpMap({ protocol, clientAddress, nonce, internalPort, suggestedExternalPort, lifetimeS });
    const answer = await this.#ask(build, (data) => acceptPcp(data, request, nonce, deleted), signal);
    if (answer === 'older') return undefined;
    if (answer.type === 'refused') {
      if (answer.result === PCP_UNSUPPORTED_VERSION) return undefined;
      throw this.#refused('PCP', PcpResult[answer.result] ?? `result ${answer.result}`);
    }
    const external = { address: answer.externalAddress, port: answer.externalPort };
    const granted: GrantedMapping = {
      via: 'pcp',
      external,
      lifetimeMs: answer.lifetimeS * 1_000,
      epochS: answer.epochS,
    };
    const useless = lifetimeS === 0 ? undefined : unusableEndpoint(external);
    if (useless === undefined) return granted;
    await this.unmap(request, granted);
    throw this.#refused('PCP', useless);
  }

  async #mapByNatPmp(request: FullRequest, signal: AbortSignal): Promise<GrantedMapping> {
    const address = await this.#askNatPmp(encodeAddressRequest(), 'external-address', signal);
    // Requested first, so that a gateway without an external address keeps no useless mapping.
    const useless = unusableEndpoint({ address: address.address, port: 1 });
    if (useless) throw this.#refused('NAT-PMP', useless);
    const datagram = encodeMapRequest(natPmpFields(request));
    const mapping = await this.#askNatPmp(datagram, 'mapping', signal, request);
    return {
      via: 'nat-pmp',
      external: { address: address.address, port: mapping.externalPort },
      lifetimeMs: mapping.lifetimeS * 1_000,
      epochS: mapping.epochS,
    };
  }

  async #askNatPmp<Type extends NatPmpResponse['type']>(
    datagram: Uint8Array,
    type: Type,
    signal: AbortSignal,
    request?: FullRequest,
  ): Promise<Extract<NatPmpResponse, { type: Type }>> {
    const answer = await this.#ask(
      () => datagram,
      (data) => acceptNatPmp(data, type, request),
      signal,
    );
    if (answer.result !== 0) throw this.#refused('NAT-PMP', NatPmpResult[answer.result] ?? `result ${answer.result}`);
    return answer as Extract<NatPmpResponse, { type: Type }>;
  }

  #ask<Answer>(
    build: (localAddress: string) => Uint8Array,
    accept: (data: Uint8Array) => Accepted<Answer>,
    signal: AbortSignal,
  ): Promise<Answer> {
    return askGateway(this.#components, this.#gateway, { build, accept, localAddress: this.#localAddress }, signal);
  }

  #nonceOf({ protocol, internalPort }: FullRequest): Uint8Array {
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

function natPmpFields({ protocol, internalPort, suggestedExternalPort, lifetimeMs }: FullRequest) {
  return { protocol, internalPort, suggestedExternalPort, lifetimeS: Math.ceil(lifetimeMs / 1_000) };
}

/** RFC 6887 §11.4: an answer belongs to a request when protocol, internal port and nonce are the same. */
function acceptPcp(
  data: Uint8Array,
  request: FullRequest,
  nonce: Uint8Array,
  deleted: GrantedMapping | undefined,
): Accepted<PcpResponse | 'older'> {
  if (data[0] === NAT_PMP_VERSION) return { answer: 'older' };
  const decoded = decodePcp(data);
  if ('failure' in decoded) return undefined;
  if (decoded.type === 'refused') {
    // §8.3: a refusal repeats the request; some gateways send the header only.
    return decoded.nonce && !sameBytes(decoded.nonce, nonce) ? undefined : { answer: decoded };
  }
  // The answer to another request, or a forged one.
  if (!sameBytes(decoded.nonce, nonce)) return undefined;
  if (decoded.protocol !== request.protocol || decoded.internalPort !== request.internalPort) {
    return { wrong: `they name internal port ${decoded.internalPort}, not ${request.internalPort}` };
  }
  if (request.lifetimeMs > 0) {
    return decoded.lifetimeS === 0 ? { wrong: 'they grant a lifetime of 0 s' } : { answer: decoded };
  }
  if (decoded.lifetimeS > 0) return { wrong: keptFor(decoded.lifetimeS) };
  const { externalAddress, externalPort } = decoded;
  // RFC 6887 §15.1, erratum 3621: both are repeated. miniupnpd puts its own external address in place of all zeros.
  const ofRequest = addressScope(externalAddress) === 'unspecified' || externalAddress === deleted?.external.address;
  if (externalPort === 0 && ofRequest) return { answer: decoded };
  return { wrong: `they delete ${formatEndpoint({ address: externalAddress, port: externalPort })}` };
}

/** RFC 6886 §3.3: the answer names the internal port and protocol of the request. */
function acceptNatPmp(
  data: Uint8Array,
  type: NatPmpResponse['type'],
  request: FullRequest | undefined,
): Accepted<NatPmpResponse> {
  const decoded = decodeNatPmp(data);
  if ('failure' in decoded || decoded.type !== type) return undefined;
  // §3.5: what follows a failure is undefined.
  if (decoded.result !== 0 || decoded.type !== 'mapping' || request === undefined) return { answer: decoded };
  if (decoded.protocol !== request.protocol) return undefined;
  if (decoded.internalPort !== request.internalPort) {
    return { wrong: `they name internal port ${decoded.internalPort}, not ${request.internalPort}` };
  }
  if (request.lifetimeMs > 0 && (decoded.lifetimeS === 0 || decoded.externalPort === 0)) {
    return { wrong: `they grant port ${decoded.externalPort} for ${decoded.lifetimeS} s` };
  }
  if (request.lifetimeMs === 0 && decoded.lifetimeS > 0) return { wrong: keptFor(decoded.lifetimeS) };
  return { answer: decoded };
}

/** RFC 6886 §3.4, RFC 6887 §15.1: the answer to a deletion has a lifetime of 0. */
function keptFor(lifetimeS: number): string {
  return `they keep the mapping for ${lifetimeS} s`;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

import {
  type Candidate,
  type Clock,
  Events,
  errorMessage,
  type Log,
  type Random,
  race,
  silentLog,
  TowpathError,
} from '@towpath/core';
import { type Network, sameEndpoint } from '@towpath/net';
import { defaultGateway } from './default-gateway.ts';
import { GATEWAY_PORT } from './gateway-exchange.ts';
import { GatewayProtocol } from './gateway-protocol.ts';
import type { GrantedMapping, MappingProtocol, MappingRequest } from './mapping.ts';
import { PortmapError } from './portmap-error.ts';
import { UpnpProtocol } from './upnp-protocol.ts';

export interface PortMapperComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log;
}

export interface PortMapperInit {
  /** The gateway to ask; the default route's when absent. */
  gateway?: string;
  /** Port of PCP and NAT-PMP. @default 5351 */
  gatewayPort?: number;
  /** Also look for a UPnP gateway by multicast. @default true */
  upnp?: boolean;
  /** How long the first answer may take, ms. @default 3000 */
  limitMs?: number;
}

export interface MappedPortEvents {
  /** The gateway moved the mapping to another external address or port. */
  changed: GrantedMapping;
  /** It could not be renewed in time; it is tried again until the mapping is closed. */
  lost: TowpathError;
}

/** A mapping that is kept alive until it is closed. */
export interface MappedPort extends AsyncDisposable {
  readonly events: Events<MappedPortEvents>;
  readonly current: GrantedMapping;
  /** Removes the mapping at the gateway. Idempotent. */
  close(): Promise<void>;
}

/** RFC 6886 §3.3: the recommended lifetime, two hours. */
const DEFAULT_LIFETIME_MS = 7_200_000;
const DEFAULT_LIMIT_MS = 3_000;
/** A gateway that grants less than this would be asked all the time. */
const MIN_RENEW_MS = 10_000;
/** Between two tries of a renewal that failed. */
const RENEW_RETRY_MS = 15_000;

/** Maps ports at the gateway by PCP, NAT-PMP or UPnP, whichever answers first. */
export class PortMapper {
  readonly #components: Required<PortMapperComponents>;
  readonly #init: PortMapperInit;

  constructor(components: PortMapperComponents, init: PortMapperInit = {}) {
    this.#components = { log: silentLog, ...components };
    this.#init = init;
  }

  /**
   * Maps one port and keeps it mapped: leases are renewed at half their time (RFC 6886 §3.3) and removed on close.
   * @throws PortmapError `no-mapping` when no protocol works here, with the reason of each; the signal's reason.
   */
  async map(request: MappingRequest, signal?: AbortSignal): Promise<MappedPort> {
    const full: Required<MappingRequest> = {
      suggestedExternalPort: request.internalPort,
      lifetimeMs: DEFAULT_LIFETIME_MS,
      ...request,
    };
    const protocols = await this.#protocols();
    type Path = { protocol: MappingProtocol; granted: GrantedMapping };
    const candidates = protocols.map(
      (protocol): Candidate<Path> => ({
        id: protocol.name,
        lane: protocol.name,
        label: protocol.name,
        connect: async (context) => ({ protocol, granted: await protocol.map(full, context.signal) }),
      }),
    );
    const { clock, log } = this.#components;
    const result = await race(candidates, {
      clock,
      log,
      limitMs: this.#init.limitMs ?? DEFAULT_LIMIT_MS,
      undo: ({ protocol, granted }) => protocol.unmap(full, granted),
      ...(signal === undefined ? {} : { signal }),
    }).result;
    if (!result.ok) {
      const reasons = result.report.attempts.map(({ label, error }) => `${label}: ${error?.message ?? 'silence'}`);
      throw new PortmapError('no-mapping', `No port could be mapped. ${reasons.join(' ')}`);
    }
    return new RenewedMapping(this.#components, full, result.path.protocol, result.path.granted);
  }

  async #protocols(): Promise<MappingProtocol[]> {
    const protocols: MappingProtocol[] = [];
    const gateway = this.#init.gateway ?? (await defaultGateway());
    const { gatewayPort = GATEWAY_PORT, upnp = true } = this.#init;
    if (gateway) protocols.push(new GatewayProtocol(this.#components, { address: gateway, port: gatewayPort }));
    if (upnp) protocols.push(new UpnpProtocol(this.#components, gateway));
    if (protocols.length > 0) return protocols;
    throw new PortmapError('no-gateway', 'No default gateway is known. Next: name one.');
  }
}

class RenewedMapping implements MappedPort {
  readonly events: Events<MappedPortEvents> = new Events();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #request: Required<MappingRequest>;
  readonly #protocol: MappingProtocol;
  readonly #closing = new AbortController();
  readonly #renewing: Promise<void>;
  #current: GrantedMapping;

  constructor(
    { clock, log }: Required<PortMapperComponents>,
    request: Required<MappingRequest>,
    protocol: MappingProtocol,
    granted: GrantedMapping,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#request = request;
    this.#protocol = protocol;
    this.#current = granted;
    this.#renewing = this.#renew();
  }

  get current(): GrantedMapping {
    return this.#current;
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return this.#renewing;
    this.#closing.abort(new PortmapError('no-mapping', 'The mapping was closed.'));
    await this.#renewing;
    await this.#protocol.unmap(this.#request, this.#current);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #renew(): Promise<void> {
    const { signal } = this.#closing;
    let waitMs = Math.max(MIN_RENEW_MS, this.#current.lifetimeMs / 2);
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(waitMs, signal);
        this.#renewed(await this.#protocol.map(this.#wanted(), signal));
        waitMs = Math.max(MIN_RENEW_MS, this.#current.lifetimeMs / 2);
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn(`A port mapping could not be renewed: ${errorMessage(error)}`);
        this.events.emit('lost', error instanceof TowpathError ? error : lostFor(error));
        waitMs = RENEW_RETRY_MS;
      }
    }
  }

  /** Asks for the external port that we have, so that it stays the same (RFC 6886 §3.3). */
  #wanted(): Required<MappingRequest> {
    return { ...this.#request, suggestedExternalPort: this.#current.external.port };
  }

  #renewed(granted: GrantedMapping): void {
    const moved = !sameEndpoint(granted.external, this.#current.external);
    this.#current = granted;
    if (moved) this.events.emit('changed', granted);
  }
}

function lostFor(error: unknown): PortmapError {
  return new PortmapError('no-answer', `The gateway did not renew the mapping: ${errorMessage(error)}`, {
    cause: error,
  });
}

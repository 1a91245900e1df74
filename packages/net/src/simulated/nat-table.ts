import type { Clock, Random } from '@towpath/core';
import type { Endpoint } from '../endpoint.ts';
import type { NatRules, NatDependence } from './nat-options.ts';

type Protocol = 'udp' | 'tcp';

/** One mapping: an internal endpoint and its external one. */
interface Mapping {
  readonly key: string;
  readonly protocol: Protocol;
  readonly internal: Endpoint;
  readonly externalPort: number;
  /** Created by a port mapping request: does not expire, and accepts all senders. */
  readonly fixed: boolean;
  usedAt: number;
  /** Remotes that were sent to, as the filtering sees them, with the time of the last packet. */
  readonly remotes: Map<string, number>;
}

/** RFC 4787 REQ-5 and RFC 5382 REQ-5. */
const UDP_LIFETIME_MS = 120_000;
const TCP_LIFETIME_MS = 7_440_000;

/** How long an unexpected packet holds its tuple: Linux's timeout of an unanswered UDP flow. */
const CLAIM_MS = 30_000;

/** Expired entries are swept when the table has doubled, so that it costs nothing per packet. */
const FIRST_SWEEP_SIZE = 1_024;

/** The mappings of one NAT: pure bookkeeping, lazily expired, no timers. */
export class NatTable {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #behaviour: NatRules;
  readonly #byInternal = new Map<string, Mapping>();
  /** By protocol and external port; more than one with overloading. */
  readonly #byPort = new Map<string, Mapping[]>();
  readonly #claims = new Map<string, number>();
  /** Ports that are not given out again: those before a rebinding. */
  #spent = new Set<string>();
  #fixed = 0;
  #nextPort: number | undefined;
  #sweepAt = FIRST_SWEEP_SIZE;

  constructor(clock: Clock, random: Random, behaviour: NatRules) {
    this.#clock = clock;
    this.#random = random;
    this.#behaviour = behaviour;
  }

  /** How many mappings are alive. */
  get size(): number {
    this.#sweep();
    return this.#byInternal.size;
  }

  /** The external port for a packet from inside; `undefined` when none is left. */
  outbound(protocol: Protocol, internal: Endpoint, remote: Endpoint): number | undefined {
    const { mapping = 'endpoint-independent' } = this.#behaviour;
    const fixed = this.#fixed === 0 ? undefined : this.#byInternal.get(mappingKey(protocol, internal, 'fixed'));
    const key = mappingKey(protocol, internal, dependsOn(mapping, remote));
    let found = fixed ?? this.#live(this.#byInternal.get(key));
    if (!found) {
      const port = this.#allocate(protocol, internal.port, remote);
      if (port === undefined) return undefined;
      found = this.#add({ key, protocol, internal, externalPort: port, fixed: false, usedAt: 0, remotes: new Map() });
    }
    found.usedAt = this.#clock.now();
    found.remotes.set(this.#filterKey(remote), found.usedAt);
    return found.externalPort;
  }

  /** Destination of a packet from outside, or why there is none. */
  inbound(protocol: Protocol, externalPort: number, remote: Endpoint): Endpoint | 'no-mapping' | 'filtered' {
    let refusal: 'no-mapping' | 'filtered' = 'no-mapping';
    for (const mapping of this.#byPort.get(`${protocol}|${externalPort}`) ?? []) {
      if (!this.#live(mapping)) continue;
      if (!this.#admits(mapping, remote)) {
        refusal = 'filtered';
        continue;
      }
      if ((this.#behaviour.refresh ?? 'both') === 'both') this.#refresh(mapping, remote);
      return mapping.internal;
    }
    if (this.#behaviour.claimsUnexpected) this.#claims.set(claimKey(protocol, externalPort, remote), this.#clock.now());
    return refusal;
  }

  /** A fixed mapping, as PCP, NAT-PMP or UPnP make; `undefined` when the port is taken. */
  fix(protocol: Protocol, internal: Endpoint, externalPort: number): (() => void) | undefined {
    const taken = this.#byPort.get(`${protocol}|${externalPort}`)?.some((mapping) => this.#live(mapping));
    if (taken) return undefined;
    const key = mappingKey(protocol, internal, 'fixed');
    const mapping = this.#add({ key, protocol, internal, externalPort, fixed: true, usedAt: 0, remotes: new Map() });
    return () => this.#remove(mapping);
  }

  /** Removes everything except fixed mappings. With `avoidPorts` no old external port is used again. */
  flush(avoidPorts: boolean): void {
    if (avoidPorts) this.#spent = new Set(this.#byPort.keys());
    for (const mapping of [...this.#byInternal.values()]) if (!mapping.fixed) this.#remove(mapping);
    this.#claims.clear();
  }

  #admits(mapping: Mapping, remote: Endpoint): boolean {
    if (mapping.fixed || this.#behaviour.filtering === 'endpoint-independent') return true;
    const usedAt = mapping.remotes.get(this.#filterKey(remote));
    return usedAt !== undefined && this.#clock.now() - usedAt <= this.#lifetime(mapping.protocol);
  }

  #refresh(mapping: Mapping, remote: Endpoint): void {
    mapping.usedAt = this.#clock.now();
    const key = this.#filterKey(remote);
    if (mapping.remotes.has(key)) mapping.remotes.set(key, mapping.usedAt);
  }

  #filterKey(remote: Endpoint): string {
    return dependsOn(this.#behaviour.filtering ?? 'address-and-port-dependent', remote);
  }

  #lifetime(protocol: Protocol): number {
    const { mappingLifetimeMs = UDP_LIFETIME_MS, tcpLifetimeMs = TCP_LIFETIME_MS } = this.#behaviour;
    return protocol === 'udp' ? mappingLifetimeMs : tcpLifetimeMs;
  }

  #live(mapping: Mapping | undefined): Mapping | undefined {
    if (!mapping || mapping.fixed) return mapping;
    if (this.#clock.now() - mapping.usedAt <= this.#lifetime(mapping.protocol)) return mapping;
    this.#remove(mapping);
    return undefined;
  }

  #add(mapping: Mapping): Mapping {
    mapping.usedAt = this.#clock.now();
    if (mapping.fixed) this.#fixed++;
    this.#byInternal.set(mapping.key, mapping);
    const portKey = `${mapping.protocol}|${mapping.externalPort}`;
    this.#byPort.set(portKey, [...(this.#byPort.get(portKey) ?? []), mapping]);
    if (this.#byInternal.size >= this.#sweepAt) this.#sweep();
    return mapping;
  }

  #remove(mapping: Mapping): void {
    if (!this.#byInternal.delete(mapping.key)) return;
    if (mapping.fixed) this.#fixed--;
    const portKey = `${mapping.protocol}|${mapping.externalPort}`;
    const left = (this.#byPort.get(portKey) ?? []).filter((other) => other !== mapping);
    if (left.length > 0) this.#byPort.set(portKey, left);
    else this.#byPort.delete(portKey);
  }

  #sweep(): void {
    for (const mapping of [...this.#byInternal.values()]) this.#live(mapping);
    const oldest = this.#clock.now() - CLAIM_MS;
    for (const [key, at] of this.#claims) if (at < oldest) this.#claims.delete(key);
    this.#sweepAt = Math.max(FIRST_SWEEP_SIZE, 2 * this.#byInternal.size);
  }

  #allocate(protocol: Protocol, internalPort: number, remote: Endpoint): number | undefined {
    const [first, last] = this.#behaviour.portRange ?? [1_024, 65_535];
    const count = last - first + 1;
    const wrap = (port: number) => first + ((((port - first) % count) + count) % count);
    const { ports = 'preserving', portStep = 1, overloading = false } = this.#behaviour;
    const step = ports === 'sequential' ? portStep : 1;
    let port = internalPort;
    if (ports === 'random') port = this.#random.integer(first, last);
    else if (ports === 'sequential') port = this.#nextPort ?? this.#random.integer(first, last);
    for (let tries = 0; tries < count; tries++) {
      port = wrap(port);
      if (this.#isFree(protocol, port, remote)) {
        if (ports === 'sequential') this.#nextPort = port + step;
        return port;
      }
      port = tries === 0 && overloading ? this.#random.integer(first, last) : port + step;
    }
    return undefined;
  }

  #isFree(protocol: Protocol, port: number, remote: Endpoint): boolean {
    const key = `${protocol}|${port}`;
    if (this.#spent.has(key)) return false;
    const claimedAt = this.#claims.get(claimKey(protocol, port, remote));
    if (claimedAt !== undefined && this.#clock.now() - claimedAt <= CLAIM_MS) return false;
    const holders = this.#byPort.get(key);
    if (holders === undefined) return true;
    const live = holders.filter((mapping) => this.#live(mapping));
    if (!this.#behaviour.overloading) return live.length === 0;
    return !live.some((mapping) => mapping.fixed || mapping.remotes.has(this.#filterKey(remote)));
  }
}

function mappingKey(protocol: Protocol, internal: Endpoint, remote: string): string {
  return `${protocol}|${internal.address}|${internal.port}|${remote}`;
}

function claimKey(protocol: Protocol, externalPort: number, remote: Endpoint): string {
  return `${protocol}|${externalPort}|${remote.address}|${remote.port}`;
}

/** The part of the remote endpoint that matters. */
function dependsOn(dependence: NatDependence, remote: Endpoint): string {
  if (dependence === 'endpoint-independent') return '';
  return dependence === 'address-dependent' ? remote.address : `${remote.address}|${remote.port}`;
}

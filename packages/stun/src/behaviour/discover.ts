import { errorMessage } from '@towpath/core';
import { type Endpoint, sameEndpoint } from '@towpath/net';
import { type BindingResult, bindingResult, mappedAddressOf } from '../client/stun-client.ts';
import type { StunResponse } from '../client/stun-transactions.ts';
import { MessageClass, Method } from '../message/header.ts';
import { StunWriter } from '../message/stun-writer.ts';
import {
  classifyFiltering,
  classifyMapping,
  classifyPorts,
  type FilteringProbes,
  type NatReport,
  type Observation,
  type PortSample,
  type ServerReport,
} from './nat-report.ts';
import { type ProbeComponents, ProbeSocket, unlessFailed, within } from './probe-socket.ts';
import { isSameRoute, onSameRoute, routeTo, type SameRoute } from './same-route.ts';
import { findingsOf, meaningOf, nameOf } from './words.ts';

export interface DiscoverNatOptions {
  /**
   * STUN servers of one address family. One with a second address and port (RFC 5780) shows mapping and filtering;
   * servers without show the mapping when there are two or more. Only those that one route leads to are compared.
   */
  servers: readonly Endpoint[];
  /** Local address to send from. */
  localAddress?: string;
  /** How long an answer may take, ms; the whole test takes at most twice that. @default 1300 */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

/** How long further answers are awaited after the first one, ms: one of them may be of a server that shows more. */
const GRACE_MS = 150;

/**
 * Finds out how the network treats UDP: mapping and filtering behaviour, ports, hairpinning (RFC 5780 §4).
 * Probes run in parallel. No answer is a result, not an error.
 * @throws NetError when no socket can be bound; the signal's reason.
 */
export async function discoverNat(components: ProbeComponents, options: DiscoverNatOptions): Promise<NatReport> {
  const { signal, timeoutMs = 1_300 } = options;
  const { clock, network } = components;
  const startedAt = clock.now();
  const family = options.servers[0]?.address.includes(':') ? 6 : 4;
  const { route, servers, others } = await onSameRoute(network, options.servers, options.localAddress, signal);
  const address = options.localAddress ?? sourceOf(route);
  const open = () => ProbeSocket.open(components, { address, family, signal });
  await using mappingSocket = await open();
  await using filterSocket = await open();
  await using first = await open();
  await using second = await open();
  const timing = { ...within(timeoutMs), signal };

  const reports = new Map<Endpoint, ServerReport>(others.map((other) => [other.server, notCompared(other)]));
  const found: BindingResult[] = [];
  const asked = servers.map((server) => ask(mappingSocket, server, timing, reports, found));
  const primary = await choosePrimary(components, asked, found, signal);
  if (primary === undefined)
    return summary(
      {
        udp: false,
        mapping: 'unknown',
        filtering: 'unknown',
        ports: 'unknown',
        portStep: undefined,
        hairpin: undefined,
      },
      mappingSocket.local,
      undefined,
    );

  const { from: server } = primary;
  const other = await reachedAlike(components, primary, route, options.localAddress, signal);
  const destinations = other === undefined ? [] : otherDestinations(server, other);
  // Each group is sent without a pause, so that sequential port assignment is recognised.
  const changes = [
    { address: true, port: true },
    { address: false, port: true },
  ];
  const mappingAnswers = destinations.map((to) => unlessFailed(mappingSocket.binding(to, timing)));
  const samples = [filterSocket, first, second].map((socket) => unlessFailed(socket.binding(server, timing)));
  const filterAnswers = changes.map((change) => unlessFailed(filterSocket.binding(server, { ...timing, change })));
  const hairpinned = tryHairpin(components, first, second, samples[1]!, samples[2]!, signal);

  const [mapped, sampled, changed, hairpin] = await Promise.all([
    Promise.all(mappingAnswers),
    Promise.all(samples),
    Promise.all(filterAnswers),
    hairpinned,
    Promise.all(asked),
  ]);
  const observations = [
    ...found.map((result) => ({ destination: result.from, mapped: result.mapped })),
    ...observed(destinations, mapped),
  ];
  const isOurs = network.interfaces().some(({ address }) => address === primary.mapped.address);
  const translated = !isOurs || primary.mapped.port !== mappingSocket.local.port;
  const sockets = [filterSocket, first, second].flatMap((socket, at) => sample(socket, sampled[at]));
  // A server that was asked before has its mapping already, out of turn.
  const burst = mapped.flatMap((response, at) => {
    const known = servers.some((asked) => sameEndpoint(asked, destinations[at]!));
    return known ? [] : sample(mappingSocket, response);
  });
  const mapping = translated ? classifyMapping(observations) : 'none';
  const filtering = classifyFiltering(filteringProbes(server, heardFrom(mapped), changed));
  return summary(
    { udp: true, mapping, filtering, hairpin: translated ? hairpin : undefined, ...classifyPorts(sockets, burst) },
    mappingSocket.local,
    primary.mapped,
  );

  function summary(
    facts: Parameters<typeof nameOf>[0],
    local: Endpoint,
    mappedAddress: Endpoint | undefined,
  ): NatReport {
    return {
      ...facts,
      local,
      route,
      mapped: mappedAddress,
      name: nameOf(facts),
      findings: findingsOf(facts),
      meaning: meaningOf(facts),
      servers: [...reports.values()],
      elapsedMs: clock.now() - startedAt,
    };
  }
}

/** The address to send from; servers on this host are reached from any. */
function sourceOf(route: SameRoute['route']): string | undefined {
  return route === undefined || route.interface === 'lo' ? undefined : route.source;
}

function notCompared({ server, route }: SameRoute['others'][number]): ServerReport {
  const by = route === undefined ? 'No route leads there' : `Its route leaves by ${route.interface} (${route.source})`;
  const error = `${by}; it is not compared with the other servers.`;
  return { server, mapped: undefined, rttMs: undefined, canChange: false, error };
}

/** The server's second address, when packets take the same route to it. */
async function reachedAlike(
  { network }: ProbeComponents,
  { other, from }: BindingResult,
  route: SameRoute['route'],
  localAddress: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Endpoint | undefined> {
  if (other === undefined || route === undefined || other.address === from.address) return other;
  const there = await routeTo(network, other.address, localAddress, signal);
  return isSameRoute(there, route) ? other : { address: from.address, port: other.port };
}

/** Writes one server's answer into the report, or why there was none. */
async function ask(
  socket: ProbeSocket,
  server: Endpoint,
  timing: Parameters<ProbeSocket['binding']>[1],
  reports: Map<Endpoint, ServerReport>,
  found: BindingResult[],
): Promise<void> {
  try {
    const result = bindingResult(await socket.binding(server, timing));
    found.push({ ...result, from: server });
    reports.set(server, {
      server,
      mapped: result.mapped,
      rttMs: result.rttMs,
      canChange: result.other !== undefined,
      error: undefined,
    });
  } catch (error) {
    timing.signal?.throwIfAborted();
    reports.set(server, { server, mapped: undefined, rttMs: undefined, canChange: false, error: errorMessage(error) });
  }
}

/** Returns the best server that answers: one with a second address at once, otherwise the first within the grace period. */
async function choosePrimary(
  { clock }: ProbeComponents,
  asked: readonly Promise<void>[],
  found: readonly BindingResult[],
  signal: AbortSignal | undefined,
): Promise<BindingResult | undefined> {
  const best = () => found.find(({ from, other }) => other !== undefined && other.address !== from.address);
  let waiting = asked.length;
  await new Promise<void>((resolve, reject) => {
    let inGrace = false;
    if (waiting === 0) resolve();
    for (const one of asked) {
      one.then(() => {
        waiting--;
        if (waiting === 0 || best() !== undefined) resolve();
        else if (found.length > 0 && !inGrace) {
          inGrace = true;
          clock.sleep(GRACE_MS, signal).then(resolve, reject);
        }
      }, reject);
    }
  });
  return best() ?? found.find(({ other }) => other !== undefined) ?? found[0];
}

/** The server's other sockets: its second port, and its second address with both ports. */
function otherDestinations(server: Endpoint, other: Endpoint): Endpoint[] {
  const candidates = [
    { address: server.address, port: other.port },
    { address: other.address, port: server.port },
    other,
  ];
  return candidates.filter(
    (one, at) => !sameEndpoint(one, server) && candidates.findIndex((earlier) => sameEndpoint(earlier, one)) === at,
  );
}

function observed(destinations: readonly Endpoint[], responses: readonly (StunResponse | undefined)[]): Observation[] {
  return destinations.flatMap((destination, at) => {
    const mapped = mappedOf(responses[at]);
    return mapped === undefined ? [] : [{ destination, mapped }];
  });
}

function sample(socket: ProbeSocket, response: StunResponse | undefined): PortSample[] {
  const mapped = mappedOf(response);
  return mapped === undefined ? [] : [{ internal: socket.local.port, external: mapped.port }];
}

/** Our address as a server sees it; undefined without an answer that says so. */
function mappedOf(response: StunResponse | undefined): Endpoint | undefined {
  return response?.message.class === MessageClass.Success ? mappedAddressOf(response.message) : undefined;
}

/** Where answers to plain requests came from. */
function heardFrom(responses: readonly (StunResponse | undefined)[]): Endpoint[] {
  return responses.flatMap((response) => (response === undefined ? [] : [response.from]));
}

/**
 * Reads the results of the change requests. No response from another address shows a filter only when that address
 * responds to requests that are sent to it: some servers announce one that cannot be reached. Those that ignore
 * CHANGE-REQUEST answer from where they were asked, which says nothing.
 */
function filteringProbes(
  server: Endpoint,
  heard: readonly Endpoint[],
  [both, port]: readonly (StunResponse | undefined)[],
): FilteringProbes {
  const answers = [both, port].filter((response) => response !== undefined);
  const refused = answers.some(({ message }) => message.class === MessageClass.Error);
  const ignored = answers.some(({ from }) => sameEndpoint(from, server));
  const otherAddress = heard.some(({ address }) => address !== server.address);
  const otherPort = heard.some((from) => from.address === server.address);
  return {
    canChange: otherAddress && otherPort && !refused && !ignored,
    otherAddress: both?.message.class === MessageClass.Success && both.from.address !== server.address,
    otherPort: port?.message.class === MessageClass.Success && port.from.port !== server.port,
  };
}

/** When copies of the hairpin probe are sent, and when the wait for one is over, ms. */
const HAIRPIN_SENDS_MS = [0, 100, 300] as const;
const HAIRPIN_WAIT_MS = 600;

/**
 * Sends from two sockets to each other's external address (RFC 5780 §4.5). Both send, because the NAT may accept packets
 * only from endpoints that were sent to.
 */
async function tryHairpin(
  { clock, random }: ProbeComponents,
  first: ProbeSocket,
  second: ProbeSocket,
  firstAnswer: Promise<StunResponse | undefined>,
  secondAnswer: Promise<StunResponse | undefined>,
  signal: AbortSignal | undefined,
): Promise<boolean | undefined> {
  const [externalA, externalB] = [mappedOf(await firstAnswer), mappedOf(await secondAnswer)];
  if (externalA === undefined || externalB === undefined) return undefined;
  let seen = false;
  const token = random.bytes(12);
  for (const socket of [first, second]) {
    socket.onOther = (message) => {
      seen ||= Buffer.compare(message.transactionId, token) === 0;
    };
  }
  const probe = new StunWriter(MessageClass.Indication, Method.Binding, token).finish();
  let elapsed = 0;
  for (const at of [...HAIRPIN_SENDS_MS, HAIRPIN_WAIT_MS]) {
    await clock.sleep(at - elapsed, signal);
    elapsed = at;
    if (seen) return true;
    first.send(probe, externalB);
    second.send(probe, externalA);
  }
  return seen;
}

import { type Clock, errorCode, errorMessage, type Random } from '@towpath/core';
import { addressFamily, type Endpoint, type Network, type TlsClientOptions } from '@towpath/net';
import { StunClient, type StunTransport } from '@towpath/stun';
import { withinLimit } from './deadline.ts';

/** A STUN server, or a relay (TURN), that is checked. */
export interface ServerToCheck {
  /** Host name or address. */
  host: string;
  /** UDP and TCP. @default 3478 */
  port?: number;
  /** TLS; not tried when absent. */
  tlsPort?: number;
}

export interface CheckComponents {
  network: Network;
  clock: Clock;
  random: Random;
}

/** One way to a server that was tried. */
export interface WayCheck {
  readonly transport: StunTransport;
  readonly family: 4 | 6;
  readonly endpoint: Endpoint;
  /** The shortest of several round trips of a Binding request, ms; absent when none was answered. */
  readonly rttMs?: number;
  /** Our address as the server sees it. */
  readonly mapped?: Endpoint;
  /** Why there was no answer. */
  readonly error?: { readonly code: string; readonly message: string };
}

export interface ServerCheck {
  readonly role: 'stun' | 'relay';
  readonly host: string;
  readonly port: number;
  readonly ways: readonly WayCheck[];
  /** The way with the shortest round trip. */
  readonly best?: WayCheck;
  /** Why the server's name led nowhere. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** When the requests of a UDP check leave, ms: three that count, and two more in case those are lost. */
const UDP_SENDS_MS = [0, 30, 60, 300, 600] as const;
/** Round trips that are measured on each way. */
const ROUND_TRIPS = 3;

/** What is known about a way before it is tried. */
type Untried = Pick<WayCheck, 'transport' | 'family' | 'endpoint'>;

/** The ways to a server with these addresses. */
export function waysTo({ port = DEFAULT_PORT, tlsPort }: ServerToCheck, addresses: readonly string[]): Untried[] {
  return addresses.flatMap((address) => {
    const family = addressFamily(address) ?? 4;
    const ways: Untried[] = [
      { transport: 'udp', family, endpoint: { address, port } },
      { transport: 'tcp', family, endpoint: { address, port } },
    ];
    if (tlsPort !== undefined) ways.push({ transport: 'tls', family, endpoint: { address, port: tlsPort } });
    return ways;
  });
}

/** RFC 8489 §18.6. */
export const DEFAULT_PORT = 3478;

/** Tries one way. That it does not work is a finding, not an error. @throws the signal's reason. */
export async function checkWay(
  components: CheckComponents,
  way: Untried,
  options: { limitMs: number; tls?: TlsClientOptions; signal: AbortSignal },
): Promise<WayCheck> {
  const { clock } = components;
  const { transport, endpoint } = way;
  try {
    const found = await withinLimit(clock, options.limitMs, silence(options.limitMs), options.signal, (signal) =>
      transport === 'udp'
        ? overUdp(components, endpoint, signal)
        : overStream(components, endpoint, transport, options.tls, signal),
    );
    return { ...way, ...found };
  } catch (error) {
    options.signal.throwIfAborted();
    return { ...way, error: { code: errorCode(error), message: errorMessage(error) } };
  }
}

function silence(limitMs: number): string {
  return `No answer within ${Math.round(limitMs)} ms.`;
}

type Found = Pick<WayCheck, 'rttMs' | 'mapped'>;

/** Several requests, each sent once, so that every answer tells its round trip. */
async function overUdp(components: CheckComponents, server: Endpoint, signal: AbortSignal): Promise<Found> {
  const { clock } = components;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  await using client = await StunClient.open(components, server, { maxSends: 1, lastWaitFactor: 1, rtoMs: NEVER_MS });
  let found: Found | undefined;
  let failure: unknown;
  let answers = 0;
  let needed: number = ROUND_TRIPS;
  const one = async (): Promise<void> => {
    try {
      const { rttMs = Number.POSITIVE_INFINITY, mapped } = await client.binding({ signal: either });
      found = { mapped, rttMs: Math.min(rttMs, found?.rttMs ?? rttMs) };
      answers++;
      if (answers >= needed) over.abort();
    } catch (error) {
      failure ??= error;
    }
  };
  const requests: Promise<void>[] = [];
  let elapsedMs = 0;
  for (const at of UDP_SENDS_MS) {
    // Aborted is answered: the sends that are left are not needed.
    await clock.sleep(at - elapsedMs, either).catch(() => undefined);
    elapsedMs = at;
    if (at >= RESENDS_FROM_MS) needed = 1;
    if (answers >= needed || signal.aborted) break;
    requests.push(one());
  }
  if (answers >= needed) over.abort();
  await Promise.all(requests);
  if (found === undefined) throw signal.aborted ? signal.reason : failure;
  return found;
}

/** From here on one answer is enough: the others were lost, or the way is long. */
const RESENDS_FROM_MS = 300;
/** The check's own limit ends requests; they never repeat by themselves. */
const NEVER_MS = 60_000;

async function overStream(
  components: CheckComponents,
  server: Endpoint,
  transport: 'tcp' | 'tls',
  tls: TlsClientOptions | undefined,
  signal: AbortSignal,
): Promise<Found> {
  await using client = await StunClient.open(components, server, {
    transport,
    signal,
    ...(transport === 'tls' ? { tls: tls ?? {} } : {}),
  });
  let rttMs = Number.POSITIVE_INFINITY;
  let mapped: Endpoint | undefined;
  for (let count = 0; count < ROUND_TRIPS; count++) {
    const result = await client.binding({ signal });
    rttMs = Math.min(rttMs, result.rttMs ?? rttMs);
    mapped = result.mapped;
  }
  return { rttMs, mapped };
}

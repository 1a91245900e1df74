import { type Clock, errorCode, errorMessage, type Random } from '@towpath/core';
import { addressFamily, type Endpoint, type Network, type TlsClientOptions } from '@towpath/net';
import { StunClient, type TransportProtocol } from '@towpath/stun';
import { withinLimit } from './deadline.ts';
import type { LookUpFailure } from './look-ups.ts';

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

/** Result of one transport and address of a server. */
export interface TransportCheck {
  readonly transport: TransportProtocol;
  readonly family: 4 | 6;
  readonly endpoint: Endpoint;
  /** The shortest of several round trips of a Binding request, ms; absent when none was answered. */
  readonly rttMs?: number;
  /** Our address as the server sees it. */
  readonly mapped?: Endpoint | undefined;
  /** Why there was no answer. */
  readonly error?: { readonly code: string; readonly message: string };
}

export interface ServerCheck {
  readonly role: 'stun' | 'relay';
  readonly host: string;
  readonly port: number;
  readonly transports: readonly TransportCheck[];
  /** The result with the shortest round trip. */
  readonly best?: TransportCheck;
  /** Why the server has no address. */
  readonly error?: { readonly code: string; readonly message: string };
  /** Families whose addresses could not be looked up, or lead to no server (loopback, multicast). */
  readonly unresolved: readonly LookUpFailure[];
}

/** Send times of the requests of a UDP check, ms: three measured ones, and two more in case of loss. */
const UDP_SENDS_MS = [0, 30, 60, 300, 600] as const;
/** Round trips measured for each transport and address. */
const ROUND_TRIPS = 3;

/** A transport and address before its check. */
type Untried = Pick<TransportCheck, 'transport' | 'family' | 'endpoint'>;

/** Returns the transports and addresses of a server. */
export function transportsTo({ port = DEFAULT_PORT, tlsPort }: ServerToCheck, addresses: readonly string[]): Untried[] {
  return addresses.flatMap((address) => {
    const family = addressFamily(address) ?? 4;
    const transports: Untried[] = [
      { transport: 'udp', family, endpoint: { address, port } },
      { transport: 'tcp', family, endpoint: { address, port } },
    ];
    if (tlsPort !== undefined) transports.push({ transport: 'tls', family, endpoint: { address, port: tlsPort } });
    return transports;
  });
}

/** RFC 8489 §18.6. */
export const DEFAULT_PORT = 3478;

/** Checks one transport and address. A failure is part of the result. @throws the signal's reason. */
export async function checkTransport(
  components: CheckComponents,
  untried: Untried,
  options: { limitMs: number; tls?: TlsClientOptions | undefined; signal: AbortSignal },
): Promise<TransportCheck> {
  const { clock } = components;
  const { transport, endpoint } = untried;
  try {
    const found = await withinLimit(clock, options.limitMs, silence(options.limitMs), options.signal, (signal) =>
      transport === 'udp'
        ? overUdp(components, endpoint, signal)
        : overStream(components, endpoint, transport, options.tls, signal),
    );
    return { ...untried, ...found };
  } catch (error) {
    options.signal.throwIfAborted();
    return { ...untried, error: { code: errorCode(error), message: errorMessage(error) } };
  }
}

function silence(limitMs: number): string {
  return `No answer within ${Math.round(limitMs)} ms.`;
}

type Found = Pick<TransportCheck, 'rttMs' | 'mapped'>;

/** Sends several requests, each once, so that each answer gives a round-trip time. */
async function overUdp(components: CheckComponents, server: Endpoint, signal: AbortSignal): Promise<Found> {
  const { clock } = components;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  await using client = await StunClient.open(components, { server, maxSends: 1, lastWaitFactor: 1, rtoMs: NEVER_MS });
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
    // An abort means that an answer arrived; no further request is needed.
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

/** From this time on one answer is enough: the others were lost, or the path is slow. */
const RESENDS_FROM_MS = 300;
/** The check's time limit ends requests; they are not retransmitted. */
const NEVER_MS = 60_000;

async function overStream(
  components: CheckComponents,
  server: Endpoint,
  transport: 'tcp' | 'tls',
  tls: TlsClientOptions | undefined,
  signal: AbortSignal,
): Promise<Found> {
  await using client = await StunClient.open(components, {
    server,
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

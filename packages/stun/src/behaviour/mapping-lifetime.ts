import type { Endpoint } from '@towpath/net';
import { bindingResult } from '../client/stun-client.ts';
import { StunError } from '../client/stun-error.ts';
import type { StunMessage } from '../message/stun-message.ts';
import { MessageClass } from '../message/header.ts';
import { type ProbeComponents, ProbeSocket, unlessFailed, within } from './probe-socket.ts';

export interface MappingLifetimeOptions {
  /** A server that understands RESPONSE-PORT (RFC 5780 §7.5). */
  server: Endpoint;
  localAddress?: string;
  /** Shortest idle time that is tried, ms. @default 5000 */
  minMs?: number;
  /** Longest idle time that is tried, ms; the test takes at most about twice that. @default 180000 */
  maxMs?: number;
  /** The result is known to within this, ms. @default 5000 */
  toleranceMs?: number;
  signal?: AbortSignal | undefined;
}

/** How long the NAT keeps an idle UDP mapping. */
export interface MappingLifetime {
  /** A mapping that was idle so long still worked, ms; 0 when even the shortest time was too long. */
  readonly atLeastMs: number;
  /** A mapping that was idle so long was gone, ms; undefined when it still worked after the longest time. */
  readonly belowMs: number | undefined;
  /** Keep-alives at this interval are safe: 0.8 of what is known to work, at most 25 s, at least 5 s. */
  readonly keepAliveMs: number;
}

/** Idle times that are tried side by side in a round, each on a socket of its own. */
const PROBES_PER_ROUND = 6;

const ANSWER_MS = 1_500;

/**
 * Measures how long the NAT keeps an idle mapping (RFC 5780 §4.6): a socket learns its external port and sends
 * nothing more; after a while another socket asks the server to answer to that port. Many idle times are
 * tried at once, then the range between the longest that worked and the shortest that did not, until it
 * is narrow enough.
 * @throws StunError `stun-timed-out` when the server does not answer, `stun-refused` when it does not know
 *   RESPONSE-PORT; NetError; the signal's reason.
 */
export async function measureMappingLifetime(
  components: ProbeComponents,
  options: MappingLifetimeOptions,
): Promise<MappingLifetime> {
  const { minMs = 5_000, maxMs = 180_000, toleranceMs = 5_000 } = options;
  if (!(await survives(components, options, 0))) {
    throw new StunError(
      'stun-refused',
      'The server does not answer to another port (RESPONSE-PORT): use one with RFC 5780.',
    );
  }
  let atLeastMs = 0;
  let belowMs: number | undefined;
  let idleTimes = geometric(minMs, maxMs, PROBES_PER_ROUND);
  while (idleTimes.length > 0) {
    const outcome = await round(components, options, idleTimes);
    atLeastMs = Math.max(atLeastMs, outcome.atLeastMs);
    belowMs = outcome.belowMs ?? belowMs;
    const narrow = belowMs === undefined || belowMs - atLeastMs <= toleranceMs || atLeastMs === 0;
    idleTimes = narrow ? [] : between(atLeastMs, belowMs!, toleranceMs);
  }
  return { atLeastMs, belowMs, keepAliveMs: Math.min(25_000, Math.max(5_000, 0.8 * atLeastMs)) };
}

/** Tries idle times side by side, and stops waiting for the longer ones once a shorter one has failed. */
async function round(
  components: ProbeComponents,
  options: MappingLifetimeOptions,
  idleTimes: readonly number[],
): Promise<{ atLeastMs: number; belowMs: number | undefined }> {
  const enough = new AbortController();
  const signal = options.signal === undefined ? enough.signal : AbortSignal.any([options.signal, enough.signal]);
  let atLeastMs = 0;
  let belowMs: number | undefined;
  const tries = idleTimes.map(async (idleMs) => {
    try {
      if (await survives(components, { ...options, signal }, idleMs)) atLeastMs = Math.max(atLeastMs, idleMs);
      else {
        belowMs = Math.min(belowMs ?? idleMs, idleMs);
        enough.abort();
      }
    } catch (error) {
      if (!enough.signal.aborted) throw error;
    }
  });
  try {
    await Promise.all(tries);
  } finally {
    enough.abort();
    await Promise.allSettled(tries);
  }
  return { atLeastMs, belowMs };
}

/** Returns whether a mapping still works after it was idle for `idleMs`. */
async function survives(
  components: ProbeComponents,
  options: MappingLifetimeOptions,
  idleMs: number,
): Promise<boolean> {
  const { server, localAddress, signal } = options;
  const family = server.address.includes(':') ? 6 : 4;
  await using silent = await ProbeSocket.open(components, { address: localAddress, family, signal });
  await using asking = await ProbeSocket.open(components, { address: localAddress, family, signal });
  const timing = { ...within(ANSWER_MS), signal };
  const { mapped } = bindingResult(await silent.binding(server, timing));
  await components.clock.sleep(idleMs, signal);
  const heard = new Promise<true>((resolve) => {
    silent.onOther = (message: StunMessage) => {
      if (message.class === MessageClass.Success) resolve(true);
    };
  });
  const answered = unlessFailed(asking.binding(server, { ...timing, responsePort: mapped.port }));
  // An answer to the asking socket means that the server does not support RESPONSE-PORT.
  return await Promise.race([heard, answered.then(() => false)]);
}

/** `count` times from `min` to `max`, each the same factor longer than the one before. */
function geometric(min: number, max: number, count: number): number[] {
  if (max <= min) return [min];
  return Array.from({ length: count }, (_, at) => min * (max / min) ** (at / (count - 1)));
}

/** Times strictly between two bounds, no closer than `step`. */
function between(low: number, high: number, step: number): number[] {
  const count = Math.min(PROBES_PER_ROUND, Math.ceil((high - low) / step) - 1);
  return Array.from({ length: count }, (_, at) => low + ((high - low) * (at + 1)) / (count + 1));
}

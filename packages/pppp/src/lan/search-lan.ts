import { type Clock, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { decodeMessage, encodeMessage } from '../codec/message.ts';
import { SearchSchedule } from './search-schedule.ts';
import type { SearchTargets } from './targets.ts';

const LAN_SEARCH: Uint8Array = encodeMessage({ type: 'LAN_SEARCH' });

/** Devices that one search reports at most: whoever answers with more is making them up. */
const MAX_FOUND = 1024;

/** A device that answered a search. */
export interface FoundDevice {
  readonly uid: string;
  /** Its address and listen port: where a session is opened. */
  readonly endpoint: Endpoint;
  /** The cipher that it answered in, undefined for plaintext. */
  readonly cipher: StreamCipher | undefined;
  /** Time from the start of the search to its first answer, in ms. */
  readonly afterMs: number;
}

export interface SearchLanOptions extends SearchTargets {
  network: Network;
  clock: Clock;
  log?: Log;
  /** How long to search, in ms. @default 1450 */
  durationMs?: number;
  /** Ciphers to search in at once, undefined for plaintext. @default plaintext only */
  ciphers?: readonly (StreamCipher | undefined)[];
  /** Local address to search from. @default all addresses */
  localAddress?: string;
  /** Ends the search at once. */
  signal?: AbortSignal;
}

/** How long the recorded app searches before it gives up (spec §12). */
const DEFAULT_DURATION_MS = 1450;

/**
 * Searches the LAN and yields each device once, as soon as it answers. Punches are not returned, so no device opens a session.
 *
 * @example
 * for await (const { uid, endpoint } of searchLan({ network, clock })) console.log(uid, endpoint.address, endpoint.port);
 * @throws PpppError `bad-argument`; NetError when no socket can be bound; the signal's reason when it aborts.
 */
export async function* searchLan(options: SearchLanOptions): AsyncGenerator<FoundDevice, void> {
  const { network, clock, signal, durationMs = DEFAULT_DURATION_MS, ciphers = [undefined], localAddress } = options;
  const log = options.log ?? silentLog;
  signal?.throwIfAborted();
  const schedule = new SearchSchedule(network, clock, options, localAddress);
  const startedAt = clock.now();
  const known = new Set<string>();
  const found: FoundDevice[] = [];
  let wake = () => {};
  let knockTimer: Timer | undefined;
  let over = false;

  const socket = await network.bindUdp({
    ...(localAddress === undefined ? {} : { address: localAddress }),
    broadcast: true,
    onMessage(data, from) {
      const answer = readAnswer(data, ciphers);
      if (answer === undefined || known.size === MAX_FOUND) return;
      const key = `${answer.uid} ${formatEndpoint(from)}`;
      if (known.has(key)) return;
      known.add(key);
      found.push({ ...answer, endpoint: { ...from }, afterMs: clock.now() - startedAt });
      wake();
    },
    onError: (error) => log.debug('a search could not be sent', { error: errorMessage(error) }),
  });
  const finish = () => {
    over = true;
    wake();
  };
  const limitTimer = clock.timer(durationMs, finish);
  const knock = () => {
    schedule.knock((to) => {
      for (const cipher of ciphers) socket.send(cipher === undefined ? LAN_SEARCH : cipher.encipher(LAN_SEARCH), to);
    });
    knockTimer = clock.timer(schedule.pauseMs, knock);
  };
  signal?.addEventListener('abort', finish, { once: true });
  try {
    if (!signal?.aborted) knock();
    while (!signal?.aborted) {
      const device = found.shift();
      if (device !== undefined) yield device;
      else if (over) break;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal?.removeEventListener('abort', finish);
    limitTimer.cancel();
    knockTimer?.cancel();
    await socket.close();
  }
  signal?.throwIfAborted();
}

function readAnswer(data: Uint8Array, ciphers: readonly (StreamCipher | undefined)[]) {
  for (const cipher of ciphers) {
    const message = decodeMessage(cipher === undefined ? data : cipher.decipher(data));
    if (message.type === 'PUNCH_PKT') return { uid: message.uid, cipher };
  }
  return undefined;
}

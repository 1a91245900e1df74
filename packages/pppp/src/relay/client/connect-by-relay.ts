import { type Candidate, errorCode, Race, silentLog, type TowpathError } from '@towpath/core';
import { encodeMessage } from '../../codec/message.ts';
import { parseUid } from '../../codec/uid.ts';
import { PpppError, type PpppErrorCode } from '../../pppp-error.ts';
import type { PpppSession } from '../../session-types.ts';
import { DEFAULT_SERVER_LIMIT_MS } from '../../rendezvous/client/options.ts';
import type { ConnectByRelayOptions, RelayAttemptOptions } from './relay-options.ts';
import { TcpRelayAttempt } from './tcp-relay.ts';
import { UdpRelayAttempt } from './udp-relay.ts';

const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_TCP_AFTER_MS = 300;

/** With `auto`: when UDP is answered but gives no session within this time, TCP is tried as well, ms. */
const TCP_ANYWAY_MS = 2_000;

/** Additional time to close an unused session, beyond the time limit of the attempts, ms. */
const RACE_GRACE_MS = 1_000;

/** Another transport would get the same answer. */
const FINAL: ReadonlySet<string> = new Set<PpppErrorCode>([
  'not-pppp',
  'wrong-uid',
  'unknown-device',
  'wrong-secret',
  'device-offline',
  'no-relay',
  'bad-argument',
]);

/**
 * Reaches a device over a relay (docs/protocol/pppp.md, "Connecting through a relay"): usable wherever both sides can
 * send to it. Three round trips to the server when the relay is at the usual port of a server or `relays` names it,
 * four otherwise.
 *
 * @param options `timeoutMs` is 10000 unless given
 * @returns the session, of path kind `relay`; attach to it at once or later, nothing gets lost. When its relay dies it
 * closes
 *   with `carrier-failed` within about a second.
 * @throws PpppError `server-unreachable`, `not-pppp`, `no-relay`, `relay-unreachable`, `wrong-uid`, `unknown-device`,
 * `device-offline`,
 *   `no-answer` (the device did not come to the relay), `bad-argument`; CodecError `uid-invalid`, `field-out-of-range`
 * (the
 *   secret); NetError when no socket can be bound; the signal's reason when it aborts.
 */
export async function connectByRelay(options: ConnectByRelayOptions): Promise<PpppSession> {
  const { clock, transport = 'auto', tcpAfterMs = DEFAULT_TCP_AFTER_MS, signal } = options;
  const { timeoutMs = DEFAULT_TIMEOUT_MS, log = silentLog } = options;
  const uid = parseUid(options.uid);
  signal?.throwIfAborted();
  // A secret that does not fit is found before anything is opened.
  if (options.secret !== undefined) encodeMessage({ type: 'LIST_REQ_DSK', uid, dsk: options.secret });
  const startedAt = clock.now();
  let heard = false;
  const attempt = (over: 'udp' | 'tcp'): Candidate<PpppSession> => ({
    id: over,
    kind: over,
    label: `${uid} over a relay by ${over.toUpperCase()}`,
    connect(context) {
      const own: RelayAttemptOptions = {
        ...options,
        uid,
        relays: options.relays,
        secret: options.secret,
        serverLimitMs: options.serverLimitMs ?? DEFAULT_SERVER_LIMIT_MS,
        timeoutMs: Math.max(1, timeoutMs - (clock.now() - startedAt)),
        signal: context.signal,
        onHeard: () => {
          heard = true;
        },
      };
      const made = over === 'udp' ? new UdpRelayAttempt(options, own) : new TcpRelayAttempt(options, own);
      return made.run();
    },
  });
  const race = new Race<PpppSession>(
    { clock, log },
    {
      limitMs: timeoutMs + RACE_GRACE_MS,
      undo: (session) => session.close(),
      onProgress: ({ type, attempt: { id, error } }) => {
        if (type === 'failed' && id === 'udp') joinTcp(error);
      },
      signal,
    },
  );
  const joinTcp = (error?: TowpathError) => {
    if (error === undefined || !FINAL.has(error.code)) race.add(attempt('tcp'));
    race.seal();
  };
  race.add(attempt(transport === 'tcp' ? 'tcp' : 'udp'));
  if (transport !== 'auto') race.seal();
  const timers =
    transport === 'auto'
      ? [
          clock.timer(tcpAfterMs, () => {
            if (!heard) joinTcp();
          }),
          clock.timer(Math.max(TCP_ANYWAY_MS, tcpAfterMs), () => joinTcp()),
        ]
      : [];
  try {
    const result = await race.result;
    if (result.ok) return result.path;
    throw mostTelling(result.report.attempts.map(({ error }) => error)) ?? noAnswer(uid, timeoutMs);
  } finally {
    for (const timer of timers) timer.cancel();
  }
}

/** An error by an answer is preferred to one by silence, and the error of the last transport to that of the first. */
function mostTelling(errors: readonly (TowpathError | undefined)[]): TowpathError | undefined {
  const known = errors.filter((error) => error !== undefined);
  return known.findLast((error) => errorCode(error) !== 'server-unreachable') ?? known.at(-1);
}

function noAnswer(uid: string, timeoutMs: number): PpppError {
  return new PpppError(
    'no-answer',
    `Timed out: ${uid} did not join a relay within ${timeoutMs} ms. Next: check servers and relays.`,
    {
      target: uid,
    },
  );
}

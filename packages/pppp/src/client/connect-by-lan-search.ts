import { formatEndpoint } from '@towpath/net';
import { keyForUid } from '../cipher/known-keys.ts';
import { StreamCipher } from '../cipher/stream-cipher.ts';
import { encodeMessage } from '../codec/message.ts';
import { parseUid } from '../codec/uid.ts';
import { SearchSchedule } from '../lan/search-schedule.ts';
import type { SearchTargets } from '../lan/targets.ts';
import type { PpppSession } from '../session-types.ts';
import type { ConnectOptions } from './options.ts';
import { type AttemptPlan, UdpAttempt } from './udp-attempt.ts';

const LAN_SEARCH: Uint8Array = encodeMessage({ type: 'LAN_SEARCH' });

export interface ConnectByLanSearchOptions extends ConnectOptions, SearchTargets {
  /** UID of the device; by default the first device that is ready is used. */
  uid?: string;
  /**
   * Ciphers to search in at once, undefined for plaintext. @default plaintext, and the known key of the UID's family
   */
  ciphers?: readonly (StreamCipher | undefined)[];
}

/**
 * Finds a device on the LAN and opens a session with it (docs/protocol/pppp.md, "Connecting on the LAN"): searches go
 * out every 100 ms, the answer is punched.
 *
 * @returns the session; handlers may be attached later, no data is lost
 * @throws PpppError `no-answer`, `wrong-device` (only others answered within `timeoutMs`), `bad-argument`; CodecError
 *   `uid-invalid`; NetError when no socket can be bound; the signal's reason when it aborts.
 */
export async function connectByLanSearch(options: ConnectByLanSearchOptions): Promise<PpppSession> {
  const { network, clock, localAddress } = options;
  const uid = options.uid === undefined ? undefined : parseUid(options.uid);
  const ciphers = options.ciphers ?? defaultCiphers(uid);
  const schedule = new SearchSchedule(network, clock, options, localAddress);
  const plan: AttemptPlan = {
    target: targetOf(uid, options),
    family: 4,
    uid,
    ciphers,
    broadcast: true,
    failEarly: false,
    ports: options.broadcast === false && !options.subnets?.length ? schedule.hosts : [],
    sendProbes: (attempt) =>
      schedule.sendProbes((to) => {
        for (const cipher of ciphers) attempt.send(LAN_SEARCH, to, cipher);
      }),
    pauseMs: () => schedule.pauseMs,
    trusts: () => true,
    advice:
      'Check that the device is awake and this host on its network; where broadcasts are filtered, name its address or subnet. If it is, a firewall of this host may drop its answers: allow incoming UDP from it.',
  };
  return new UdpAttempt({ ...options, plan }, options).run();
}

/** Targets of the search. */
function targetOf(uid: string | undefined, { hosts = [], broadcast = true }: SearchTargets): string {
  const where = hosts.map((host) => (typeof host === 'string' ? host : formatEndpoint(host))).join(', ');
  return `${uid ?? 'any device'} ${broadcast || where === '' ? 'on the LAN' : `at ${where}`}`;
}

function defaultCiphers(uid: string | undefined): (StreamCipher | undefined)[] {
  const key = uid === undefined ? undefined : keyForUid(uid);
  return key === undefined ? [undefined] : [undefined, new StreamCipher(key)];
}

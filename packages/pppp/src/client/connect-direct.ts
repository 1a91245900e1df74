import { addressFamily, type Endpoint, formatEndpoint, isPort } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { parseUid } from '../codec/uid.ts';
import { PpppError } from '../pppp-error.ts';
import type { PpppSession } from '../session-types.ts';
import type { ConnectOptions } from './options.ts';
import { type AttemptPlan, UdpAttempt } from './udp-attempt.ts';

/**
 * Pauses after the first punches, to recover quickly from loss; then one every 100 ms (docs/protocol/pppp.md,
 * "Connecting on the LAN").
 */
const FIRST_PAUSES_MS: readonly number[] = [20, 30, 50];
const PAUSE_MS = 100;

export interface ConnectDirectOptions extends ConnectOptions {
  /** UID of the device in text form. */
  uid: string;
  /** Address and listen port of the device. */
  to: Endpoint;
  /** Cipher of a keyed network. @default plaintext */
  cipher?: StreamCipher;
  /** End at once with `refused` when the host reports the port as closed. @default true */
  failEarly?: boolean;
}

/**
 * Opens a session with a device whose address and listen port are known: one round trip when it answers
 * (docs/protocol/pppp.md, "Connecting on the LAN").
 *
 * @returns the session; handlers may be attached later, no data is lost
 * @throws PpppError `no-answer`, `wrong-device`, `refused`, `bad-argument`; CodecError `uid-invalid`; NetError when no
 * socket can be bound;
 *   the signal's reason when it aborts.
 */
export async function connectDirect(options: ConnectDirectOptions): Promise<PpppSession> {
  const { to, cipher, failEarly = true } = options;
  const uid = parseUid(options.uid);
  const target = formatEndpoint(to);
  const family = addressFamily(to.address);
  if (family === undefined || !isPort(to.port)) {
    throw new PpppError(
      'bad-argument',
      `"${target}" is not an IP address and port. Expected a form such as 192.168.43.1:40611.`,
      {
        target,
      },
    );
  }
  const plan: AttemptPlan = {
    target,
    family,
    uid,
    ciphers: [cipher],
    broadcast: false,
    failEarly,
    ports: failEarly ? [to] : [],
    sendProbes: (attempt) => attempt.punch(uid, to, cipher),
    pauseMs: (round) => FIRST_PAUSES_MS[round] ?? PAUSE_MS,
    trusts: (from) => from.address === to.address,
    advice: 'Check that the device is awake and on this network, and check port and UID; or search the LAN.',
  };
  return new UdpAttempt({ ...options, plan }, options).run();
}

import { errorCode, errorMessage } from '@towpath/core';
import { ADVICE, NetError, type NetErrorCode } from '../net-error.ts';

const CODES: Readonly<Record<string, NetErrorCode>> = {
  EADDRINUSE: 'address-in-use',
  EADDRNOTAVAIL: 'address-not-available',
  EACCES: 'permission-denied',
  EPERM: 'permission-denied',
  ECONNREFUSED: 'connection-refused',
  ECONNRESET: 'connection-reset',
  EPIPE: 'connection-reset',
  ENETUNREACH: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  ENETDOWN: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ETIMEDOUT: 'timed-out',
  EMSGSIZE: 'message-too-big',
  EINVAL: 'bad-address',
  ENOTFOUND: 'bad-address',
  EAI_AGAIN: 'unreachable',
  ERR_SOCKET_BAD_PORT: 'bad-address',
  ERR_INVALID_IP_ADDRESS: 'bad-address',
  EPROTO: 'tls-failed',
};

/**
 * Turns what Node throws or emits into a {@link NetError}; the one place where system codes are mapped.
 * @param action what was tried, to stand after "Could not": `bind UDP 0.0.0.0:80`.
 * @param options.tls the failure came out of a TLS handshake: codes that say nothing else mean `tls-failed`.
 */
export function toNetError(cause: unknown, action: string, options: { target?: string; tls?: boolean } = {}): NetError {
  if (cause instanceof NetError) return cause;
  const code = CODES[systemCode(cause)] ?? (options.tls ? 'tls-failed' : 'network-failed');
  const message = `Could not ${action} (${errorMessage(cause)}). ${ADVICE[code]}`;
  return new NetError(code, message, { target: options.target, cause });
}

/** Node gathers the failures of several addresses of one name in an AggregateError: the first one speaks for all. */
function systemCode(cause: unknown): string {
  const code = errorCode(cause);
  if (code in CODES || !(cause instanceof AggregateError)) return code;
  return errorCode(cause.errors[0]);
}

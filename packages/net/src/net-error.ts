import { type ErrorKind, TowpathError } from '@towpath/core';

export type NetErrorCode =
  | 'address-in-use'
  | 'address-not-available'
  | 'permission-denied'
  | 'connection-refused'
  | 'connection-reset'
  | 'unreachable'
  | 'timed-out'
  | 'message-too-big'
  | 'tls-failed'
  | 'bad-address'
  | 'name-not-found'
  | 'name-without-address'
  | 'name-server-silent'
  | 'name-server-failed'
  | 'network-failed';

/** A failure of the network stack; the system's own error is the `cause`. */
export class NetError extends TowpathError<NetErrorCode> {
  static override readonly kinds: Readonly<Record<NetErrorCode, ErrorKind>> = {
    'address-in-use': 'local',
    'address-not-available': 'local',
    'permission-denied': 'local',
    'connection-refused': 'unreachable',
    'connection-reset': 'unreachable',
    unreachable: 'unreachable',
    'timed-out': 'unreachable',
    'message-too-big': 'local',
    'tls-failed': 'untrusted',
    'bad-address': 'usage',
    'name-not-found': 'unreachable',
    'name-without-address': 'unreachable',
    'name-server-silent': 'unreachable',
    'name-server-failed': 'unreachable',
    'network-failed': 'local',
  };
}

/** What a person can do about each failure; ends the message of every {@link NetError}. */
export const ADVICE: Readonly<Record<NetErrorCode, string>> = {
  'address-in-use': 'Another socket holds that port: close it or choose another port.',
  'address-not-available': 'This host does not have that address: choose one of its own or none.',
  'permission-denied': 'The system forbids it: use a port above 1023, or allow broadcast for a broadcast address.',
  'connection-refused': 'The host answers, but nothing listens on that port: check the port and that the service runs.',
  'connection-reset': 'The other side dropped the connection: connect again.',
  unreachable: 'No route leads there: check the address and that this host is online.',
  'timed-out': 'Nothing answered in time: check that the host is on and that no firewall is in between.',
  'message-too-big': 'The datagram is larger than the path or the system takes: send smaller ones.',
  'tls-failed': 'The TLS handshake failed: check the certificate, the server name and the trusted authorities.',
  'bad-address': 'Give an IP address of the right family and a port from 1 to 65535.',
  'name-not-found': 'The name does not exist: check how it is spelled.',
  'name-without-address': 'The name exists but has no address of this kind: use the other IP version.',
  'name-server-silent': 'No name server answered: check the connection and the name servers of this host.',
  'name-server-failed': 'The name server could not find out: try again, or use another name server.',
  'network-failed': 'See the cause for what the system said.',
};

/** The failure of a look-up of one family. */
export function nameError(code: NetErrorCode, name: string, family: 4 | 6, cause?: unknown): NetError {
  const message = `Could not look up the IPv${family} address of ${name}. ${ADVICE[code]}`;
  return new NetError(code, message, { target: name, cause });
}

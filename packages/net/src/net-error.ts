import { TowpathError } from '@towpath/core';

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
  | 'network-failed';

/** A failure of the network stack; the system's own error is the `cause`. */
export class NetError extends TowpathError<NetErrorCode> {}

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
  'network-failed': 'See the cause for what the system said.',
};

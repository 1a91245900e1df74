import { type ErrorKind, TowpathError } from '@towpath/core';

export type PpppErrorCode =
  /** no answer within the time limit */
  | 'no-answer'
  /** a device answered, but with another UID */
  | 'wrong-device'
  /** the host reports the port as closed */
  | 'refused'
  /** no rendezvous server answered */
  | 'server-unreachable'
  /** everything that answered as a rendezvous server is something else */
  | 'not-pppp'
  /** the servers report a wrong UID or check code */
  | 'wrong-uid'
  /** the servers do not serve devices with this prefix */
  | 'unknown-device'
  /** the servers report a wrong or missing device secret (DSK) */
  | 'wrong-secret'
  /** another device is logged in with this UID */
  | 'uid-in-use'
  /** the device is not logged in at any server */
  | 'device-offline'
  /** the servers list no relay, or refuse the given ones */
  | 'no-relay'
  /** no relay answered, or all were full */
  | 'relay-unreachable'
  /** an invalid argument */
  | 'bad-argument';

/** Failure of a PPPP procedure. */
export class PpppError extends TowpathError<PpppErrorCode> {
  static override readonly kinds: Readonly<Record<PpppErrorCode, ErrorKind>> = {
    'no-answer': 'unreachable',
    'wrong-device': 'refused',
    refused: 'unreachable',
    'server-unreachable': 'unreachable',
    'not-pppp': 'unreachable',
    'wrong-uid': 'refused',
    'unknown-device': 'refused',
    'wrong-secret': 'refused',
    'uid-in-use': 'refused',
    'device-offline': 'unreachable',
    'no-relay': 'unreachable',
    'relay-unreachable': 'unreachable',
    'bad-argument': 'usage',
  };
}

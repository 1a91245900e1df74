import { type ErrorKind, TowpathError, type TowpathErrorOptions } from '@towpath/core';

export type MeshErrorCode =
  /** WireGuard interfaces cannot be made on this operating system */
  | 'platform-unsupported'
  /** the process may not change network interfaces */
  | 'permission-denied'
  /** a program that is needed is not installed */
  | 'program-missing'
  /** a program ended with an error */
  | 'command-failed'
  /** an interface with this name exists and was not made by Towpath */
  | 'interface-exists'
  /** another process runs this party already */
  | 'already-running'
  /** WireGuard refused a change, or does not answer */
  | 'wireguard-failed'
  /** the party's addresses are used by another network of this machine */
  | 'address-conflict'
  /** the caller asked for something that makes no sense */
  | 'bad-argument'
  /** a file of ours, or the hosts file, cannot be read or written */
  | 'disk-failed';

/** What the mesh package throws. */
export class MeshError extends TowpathError<MeshErrorCode> {
  constructor(code: MeshErrorCode, message: string, options?: TowpathErrorOptions) {
    super(code, message, { kind: KINDS[code], ...options });
  }
}

const KINDS: Readonly<Record<MeshErrorCode, ErrorKind>> = {
  'platform-unsupported': 'local',
  'permission-denied': 'local',
  'program-missing': 'local',
  'command-failed': 'local',
  'interface-exists': 'local',
  'already-running': 'local',
  'wireguard-failed': 'local',
  'address-conflict': 'local',
  'bad-argument': 'usage',
  'disk-failed': 'local',
};

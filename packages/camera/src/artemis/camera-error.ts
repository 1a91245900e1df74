import { type ErrorKind, TowpathError, type TowpathErrorOptions } from '@towpath/core';

export type CameraErrorCode =
  /** no response within the command's time limit; cameras of this family refuse commands by silence */
  | 'command-timeout'
  /** a response whose `result`, `cmdRet`, … is not 0; see {@link CameraError.details} */
  | 'command-refused'
  /** a response that does not have the command's format */
  | 'bad-response'
  /** a command that needs the login's token, before the login */
  | 'not-logged-in'
  /** the camera refused the login or did not answer it */
  | 'login-failed'
  /** the session ended before a response or transfer was complete */
  | 'session-closed'
  /** no data of a transfer arrived for too long, and requesting it again did not help */
  | 'transfer-stalled'
  /** the camera does not have the item, or sent it without data */
  | 'item-missing'
  /** the camera sent the item without data */
  | 'item-empty'
  /** another camera answers than the one that was connected, or than the one whose items a folder holds */
  | 'other-camera'
  /** the item's end check is wrong, also after it was requested again */
  | 'item-damaged'
  /** an invalid argument */
  | 'bad-argument'
  /** an irreversible operation without confirmation */
  | 'confirmation-required'
  /** every attempt to connect failed, or the time limit was reached */
  | 'connect-failed'
  /** the client was closed */
  | 'client-closed'
  /** the same operation is running already */
  | 'busy'
  /** the disk is full */
  | 'disk-full'
  /** the folder or file is not writable */
  | 'permission-denied'
  /** any other failure of the file system, with the system's error as cause */
  | 'disk-failed'
  /** a stored file has an invalid content */
  | 'damaged-file';

/** Fields of the camera's response or of the call: `{ cmdId: 768, getMediaListRet: -3, errorMsg: '…' }`. */
export type CameraErrorDetails = Readonly<Record<string, string | number | boolean>>;

/** A failure of the camera layer. */
export class CameraError extends TowpathError<CameraErrorCode> {
  static override readonly kinds: Readonly<Record<CameraErrorCode, ErrorKind>> = {
    'command-timeout': 'unreachable',
    'command-refused': 'refused',
    'bad-response': 'unreachable',
    'not-logged-in': 'usage',
    'login-failed': 'refused',
    'session-closed': 'unreachable',
    'transfer-stalled': 'unreachable',
    'item-missing': 'refused',
    'item-empty': 'refused',
    'other-camera': 'refused',
    'item-damaged': 'unreachable',
    'bad-argument': 'usage',
    'confirmation-required': 'usage',
    'connect-failed': 'unreachable',
    'client-closed': 'interrupted',
    busy: 'usage',
    'disk-full': 'local',
    'permission-denied': 'local',
    'disk-failed': 'local',
    'damaged-file': 'local',
  };

  readonly details: CameraErrorDetails;

  constructor(
    code: CameraErrorCode,
    message: string,
    options: TowpathErrorOptions & { details?: CameraErrorDetails } = {},
  ) {
    super(code, message, options);
    this.details = options.details ?? {};
  }
}

import { TowpathError, type TowpathErrorOptions } from '@towpath/core';

export type CameraErrorCode =
  /** no answer within the command's time limit; silence is how cameras of this family refuse */
  | 'command-timeout'
  /** an answer whose `result`, `cmdRet`, … is not 0; see {@link CameraError.details} */
  | 'command-refused'
  /** an answer that is not what the command's answers look like */
  | 'bad-response'
  /** a command that needs the login's token was asked for before the login */
  | 'not-logged-in'
  /** the camera refused the login or left it unanswered */
  | 'login-failed'
  /** the session ended while an answer or a transfer was awaited */
  | 'session-closed'
  /** nothing of a transfer arrived for too long, asking again did not help */
  | 'transfer-stalled'
  /** the camera has no such item, or sent it without data */
  | 'item-missing'
  /** an item whose end is not what its header says, also after it was asked for again */
  | 'item-damaged'
  /** an argument that cannot be meant */
  | 'bad-argument'
  /** something irreversible was asked for without saying so */
  | 'confirmation-required'
  /** every try to connect failed, or their time is up */
  | 'connect-failed'
  /** the client was closed */
  | 'client-closed'
  /** the same thing is under way already */
  | 'busy'
  /** the disk is full */
  | 'disk-full'
  /** the folder or file may not be written */
  | 'permission-denied'
  /** any other failure of the file system, with the system's error as cause */
  | 'disk-failed'
  /** a file of ours that cannot be read as what it should be */
  | 'damaged-file';

/** What the camera or the caller said, in fields: `{ cmdId: 768, getMediaListRet: -3, errorMsg: '…' }`. */
export type CameraErrorDetails = Readonly<Record<string, string | number | boolean>>;

/** A failure of the camera layer. */
export class CameraError extends TowpathError<CameraErrorCode> {
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

import { errorCode } from '@towpath/core';
import { ControlError, type ControlErrorCode } from '../control-error.ts';
import { signedRequestStatus } from './http-status.ts';

/** An error response. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: { code: string; message: string; details: Record<string, unknown> };
  /** An internal error that is logged. */
  readonly unexpected: boolean;
}

/** Returns the response to an error: the details of expected errors, none of other errors. */
export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof ControlError) {
    const { code, message, details } = error;
    const status = signedRequestStatus(error);
    const said =
      code === 'store-failed' ? 'The store of the control plane is not available. Next: try again.' : message;
    return {
      status,
      body: { code, message: said, details: { ...details } },
      unexpected: status >= 500 && code !== 'closed',
    };
  }
  const status = statusOf(error);
  if (status === 414) return refused(414, 'limit-exceeded', 'A part of the path is too long.');
  if (status === 413) return refused(413, 'limit-exceeded', 'The request is too large.');
  if (status === 415) return refused(415, 'invalid-request', 'The body must be application/json.');
  if (status >= 400 && status < 500) {
    const message = error instanceof Error ? error.message.slice(0, 300) : 'The request is malformed.';
    return refused(status, 'invalid-request', message);
  }
  const body = { code: 'internal', message: 'Internal error of the control server; see its log.', details: {} };
  return { status: 500, body, unexpected: true };
}

function refused(status: number, code: ControlErrorCode, message: string): ErrorAnswer {
  return { status, body: { code, message, details: {} }, unexpected: false };
}

function statusOf(error: unknown): number {
  if (errorCode(error) === 'FST_ERR_CTP_BODY_TOO_LARGE') return 413;
  if (typeof error === 'object' && error !== null && 'statusCode' in error && typeof error.statusCode === 'number') {
    return error.statusCode;
  }
  return 500;
}

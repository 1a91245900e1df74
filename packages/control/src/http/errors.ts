import { errorCode } from '@towpath/core';
import { ControlError, type ControlErrorCode } from '../control-error.ts';

const STATUS: Readonly<Partial<Record<ControlErrorCode, number>>> = {
  unauthorized: 401,
  'clock-skew': 401,
  replayed: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'invalid-request': 400,
  'invalid-statement': 422,
  'limit-exceeded': 429,
  'store-failed': 503,
};

/** An error as it is answered. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: { code: string; message: string; details: Record<string, unknown> };
  /** It is our fault and belongs into the log. */
  readonly unexpected: boolean;
}

/** What is said to whoever asked: everything about an error on purpose, nothing about any other. */
export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof ControlError) {
    const { code, message, details } = error;
    const status = STATUS[code] ?? 500;
    const said = code === 'store-failed' ? 'The store of the control plane does not work now. Try again.' : message;
    return { status, body: { code, message: said, details: { ...details } }, unexpected: status >= 500 };
  }
  const status = statusOf(error);
  if (status === 413) return refused(413, 'limit-exceeded', 'The request is too large.');
  if (status === 415) return refused(415, 'invalid-request', 'The body has to be application/json.');
  if (status >= 400 && status < 500) {
    const message = error instanceof Error ? error.message.slice(0, 300) : 'The request is malformed.';
    return refused(status, 'invalid-request', message);
  }
  const body = { code: 'internal', message: 'The control server failed; its log says why.', details: {} };
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

import { httpStatus } from '@towpath/control/http-status';
import { errorCode, errorMessage, type Log, TowpathError } from '@towpath/core';
import type { Problem } from '@towpath/dashboard/api';
import { ZodError } from 'zod';

/** The status and body of a failure. Defects are logged, and their details stay here. */
export function answerOf(error: unknown, log: Log): { status: number; problem: Problem } {
  if (error instanceof ZodError) {
    const [issue] = error.issues;
    const place = issue?.path.map(String).join('.') ?? '';
    return {
      status: 400,
      problem: {
        code: 'invalid-request',
        message: `${place === '' ? 'The request' : place}: ${issue?.message ?? 'invalid'}.`,
      },
    };
  }
  if (error instanceof TowpathError) {
    return { status: httpStatus(error), problem: { code: error.code, message: error.message } };
  }
  const status = (error as { statusCode?: unknown }).statusCode;
  if (status === 413) return { status, problem: { code: 'invalid-request', message: 'The request is too large.' } };
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return { status, problem: { code: 'invalid-request', message: errorMessage(error) } };
  }
  log.error(`A request failed: ${errorMessage(error)}`, { code: errorCode(error) });
  return {
    status: 500,
    problem: { code: 'internal', message: 'Internal error. Next: see "towpath logs", and report it.' },
  };
}

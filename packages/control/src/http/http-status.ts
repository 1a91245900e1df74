import type { ErrorKind, TowpathError } from '@towpath/core';

/** The status of each kind of error, in every HTTP API of Towpath; exit codes follow from the kind as well. */
const OF_KIND: Readonly<Record<ErrorKind, number>> = {
  usage: 400,
  refused: 403,
  unreachable: 502,
  untrusted: 502,
  local: 503,
  interrupted: 503,
  internal: 500,
};

/** Codes for which HTTP has a status that says more than the one of their kind. */
const OF_CODE: Readonly<Record<string, number>> = {
  'confirmation-required': 400,
  'invalid-config': 400,
  'not-found': 404,
  conflict: 409,
  'invalid-invite': 410,
  'invalid-statement': 422,
  'limit-exceeded': 429,
  'not-logged-in': 503,
  'disk-full': 507,
};

/** Codes about the signature of the request that is answered. */
const OF_SIGNATURE: Readonly<Record<string, number>> = {
  unauthorized: 401,
  'clock-skew': 401,
  replayed: 401,
  'wrong-server': 421,
};

/** Returns the status of an error; it follows from the error's kind, except for a few codes. */
export function httpStatus({ code, kind }: Pick<TowpathError, 'code' | 'kind'>): number {
  return OF_CODE[code] ?? OF_KIND[kind];
}

/**
 * Returns the status with which a server refuses a signed request. Not for errors that another server has answered: a
 * browser that is told 401 asks its user to sign in again.
 */
export function signedRequestStatus(error: Pick<TowpathError, 'code' | 'kind'>): number {
  return OF_SIGNATURE[error.code] ?? httpStatus(error);
}

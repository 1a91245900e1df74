import { TowpathError } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { httpStatus, signedRequestStatus } from '../src/http/http-status.ts';

describe('the status of an error', () => {
  test('follows from its kind', () => {
    const kinds = ['usage', 'refused', 'unreachable', 'untrusted', 'local', 'interrupted', 'internal'] as const;
    const statuses = kinds.map((kind) => httpStatus(new TowpathError('some-code', '', { kind })));
    expect(statuses).toEqual([400, 403, 502, 502, 503, 503, 500]);
  });

  test('is more exact for codes that HTTP knows', () => {
    const codes = ['not-found', 'conflict', 'limit-exceeded', 'disk-full'];
    expect(codes.map((code) => httpStatus(new TowpathError(code, '')))).toEqual([404, 409, 429, 507]);
  });

  test('is 401 only at the server whose request was not signed well', () => {
    const error = new TowpathError('unauthorized', '');
    expect([signedRequestStatus(error), httpStatus(error)]).toEqual([401, 403]);
  });
});

import { type ErrorKind, TowpathError } from '@towpath/core';

/** Errors in a party's data. */
export type PartyDataErrorCode = 'invalid-request' | 'invalid-invite' | 'limit-exceeded' | 'clock-skew';

/** Error of `@towpath/membership`. */
export class PartyDataError extends TowpathError<PartyDataErrorCode> {
  static override readonly kinds: Readonly<Record<PartyDataErrorCode, ErrorKind>> = {
    'invalid-request': 'usage',
    'clock-skew': 'refused',
    'invalid-invite': 'refused',
    'limit-exceeded': 'refused',
  };
}

import { type ErrorKind, TowpathError } from '@towpath/core';

export type CodecErrorCode = 'uid-invalid' | 'address-invalid' | 'field-out-of-range' | 'too-large';

/** A message that cannot be encoded. Decoding does not throw. */
export class CodecError extends TowpathError<CodecErrorCode> {
  static override readonly kinds: Readonly<Record<CodecErrorCode, ErrorKind>> = {
    'uid-invalid': 'usage',
    'address-invalid': 'usage',
    'field-out-of-range': 'usage',
    'too-large': 'usage',
  };
}

import { TowpathError } from '@towpath/core';

export type CodecErrorCode = 'uid-invalid' | 'address-invalid' | 'field-out-of-range' | 'too-large';

/** A message that we were asked to encode cannot be put on the wire. Decoding never throws. */
export class CodecError extends TowpathError<CodecErrorCode> {}

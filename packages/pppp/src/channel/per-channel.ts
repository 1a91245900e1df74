import { CHANNELS } from '../codec/session-messages.ts';

/** A place for something of each channel. An empty array would take more memory: it grows by 16 places at a time. */
export function perChannel<Value>(): (Value | undefined)[] {
  return new Array<Value | undefined>(CHANNELS).fill(undefined);
}

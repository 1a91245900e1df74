import { ControlError } from '../control-error.ts';

/** @throws ControlError `limit-exceeded` when the data is too long for one message */
export function checkSize(data: Uint8Array, maxBytes: number): void {
  if (data.length <= maxBytes) return;
  throw new ControlError(
    'limit-exceeded',
    `The message has ${data.length} bytes; the limit is ${maxBytes}. Next: send less at once.`,
  );
}

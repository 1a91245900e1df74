import { ControlError } from '../control-error.ts';

/** @throws ControlError `limit-exceeded` when there is more than one message carries. */
export function checkSize(data: Uint8Array, maxBytes: number): void {
  if (data.length <= maxBytes) return;
  throw new ControlError('limit-exceeded', `This carries ${maxBytes} bytes, not ${data.length}: send less at once.`);
}

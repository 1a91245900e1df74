import { ControlError } from '../control-error.ts';

/** Returns the length of a log from a read: 0 when there is no such party; undefined when this node may not read it. */
export async function lengthAtServer(length: Promise<number>): Promise<number | undefined> {
  try {
    return await length;
  } catch (error) {
    const code = error instanceof ControlError ? error.code : undefined;
    if (code === 'not-found') return 0;
    if (code === 'forbidden') return undefined;
    throw error;
  }
}

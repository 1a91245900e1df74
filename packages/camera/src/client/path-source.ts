import { CameraError } from '../artemis/camera-error.ts';
import type { CameraPath } from './camera-path.ts';

/**
 * A path that can be used now, or after the reconnect that is under way.
 * @throws CameraError `not-logged-in`, `client-closed`; the signal's reason.
 */
export type PathSource = (signal?: AbortSignal) => Promise<CameraPath>;

/** True for the errors after which the same thing may be tried on the next session. */
export function isSessionClosed(error: unknown): boolean {
  return error instanceof CameraError && error.code === 'session-closed';
}

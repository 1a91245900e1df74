import { CameraError } from '../artemis/camera-error.ts';
import type { CameraPath } from './camera-path.ts';

/**
 * Returns the current path, or the next one while reconnecting.
 * @throws CameraError `not-logged-in`, `client-closed`; the signal's reason.
 */
export type PathSource = (signal?: AbortSignal | undefined) => Promise<CameraPath>;

/** True for errors after which the same operation may be tried on the next session. */
export function isSessionClosed(error: unknown): boolean {
  return error instanceof CameraError && error.code === 'session-closed';
}

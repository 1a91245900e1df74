import type { CameraClient } from '../client/camera-client.ts';

/** A camera client: of this package, or the one with the names of the documents. */
export type CameraHandle = CameraClient | { readonly engine: CameraClient };

export function engineOf(camera: CameraHandle): CameraClient {
  return 'engine' in camera ? camera.engine : camera;
}

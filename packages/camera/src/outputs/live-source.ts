import type { CameraClient } from '../client/camera-client.ts';

/** Where outputs get live video from. */
export type LiveSource = Pick<CameraClient, 'live'>;

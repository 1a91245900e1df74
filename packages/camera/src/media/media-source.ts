import type { CameraClient } from '../client/camera-client.ts';

/** What a download needs from a camera client. */
export type MediaSource = Pick<CameraClient, 'deviceInfo' | 'mediaList' | 'download' | 'thumbnails' | 'playback'>;

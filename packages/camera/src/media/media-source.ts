import type { CameraClient } from '../client/camera-client.ts';

/** What fetching media needs of a camera client. */
export type MediaSource = Pick<CameraClient, 'mediaList' | 'download' | 'thumbnails' | 'playback'>;

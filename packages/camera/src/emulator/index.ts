/** An emulated camera, for tests, demonstrations and measurements. */
export { CameraEmulator } from './camera-emulator.ts';
export type {
  CameraEmulatorComponents,
  CameraEmulatorEvents,
  CameraEmulatorOptions,
  RebootOptions,
} from './emulator-options.ts';
export type { EmulatorFaultOptions, EmulatorFaults } from './faults.ts';
export {
  drawnPictures,
  type PaddedPictureOptions,
  type ImmediatePictureSource,
  type PictureSource,
  paddedPictures,
} from './media/picture-source.ts';
export { readTimeCode } from './media/time-code.ts';
export { WorkerPictures } from './media/worker-pictures.ts';
export type { LinkFaults } from './network/link-faults.ts';
export { SharedPortNetwork } from './network/shared-port-network.ts';

export type { PpppDeviceOptions } from './options.ts';
export { PpppDevice } from './pppp-device.ts';
export {
  DeviceRegistration,
  type DeviceRegistrationEvents,
  type DeviceRegistrationOptions,
  type RegistrationStatus,
} from '../rendezvous/client/device-registration.ts';

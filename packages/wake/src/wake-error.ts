import { type ErrorKind, TowpathError } from '@towpath/core';

export type WakeErrorCode =
  /** no D-Bus system bus on this machine */
  | 'no-system-bus'
  /** bluetoothd (BlueZ) does not run */
  | 'no-bluetooth'
  /** no Bluetooth adapter */
  | 'no-adapter'
  /** the Bluetooth adapter is off or blocked */
  | 'adapter-off'
  /** no device of the name or address advertises */
  | 'device-not-found'
  /** the device or the adapter refused the connection */
  | 'device-refused'
  /** the connection ended before the answer was complete */
  | 'device-lost'
  /** the device does not have the characteristic */
  | 'characteristic-missing'
  /** the device did not answer in time */
  | 'no-answer'
  /** the answer is not one that was expected */
  | 'bad-answer'
  /** NetworkManager does not run */
  | 'no-network-manager'
  /** no Wi-Fi adapter that NetworkManager manages */
  | 'no-wifi-adapter'
  /** Wi-Fi is switched off */
  | 'wifi-off'
  /** another process uses the Wi-Fi adapter for a camera */
  | 'wifi-busy'
  /** no access point has the name */
  | 'network-not-found'
  /** the access point refused the password */
  | 'wrong-password'
  /** joined, and no address was assigned */
  | 'no-address'
  /** joining failed for another reason */
  | 'join-failed'
  /** the system's policy does not allow this user to do it */
  | 'access-denied'
  /** any other failure of the D-Bus service */
  | 'bus-failed';

/** A failure to wake a device or to join its network. */
export class WakeError extends TowpathError<WakeErrorCode> {
  static override readonly kinds: Readonly<Record<WakeErrorCode, ErrorKind>> = {
    'no-system-bus': 'local',
    'no-bluetooth': 'local',
    'no-adapter': 'local',
    'adapter-off': 'local',
    'device-not-found': 'unreachable',
    'device-refused': 'refused',
    'device-lost': 'unreachable',
    'characteristic-missing': 'refused',
    'no-answer': 'unreachable',
    'bad-answer': 'refused',
    'no-network-manager': 'local',
    'no-wifi-adapter': 'local',
    'wifi-off': 'local',
    'wifi-busy': 'local',
    'network-not-found': 'unreachable',
    'wrong-password': 'refused',
    'no-address': 'unreachable',
    'join-failed': 'unreachable',
    'access-denied': 'local',
    'bus-failed': 'local',
  };
}

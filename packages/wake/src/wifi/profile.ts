import { Typed } from '../dbus/values.ts';

/** What a network needs to be joined. `password` is a secret. */
export interface WifiCredentials {
  readonly ssid: string;
  readonly password: string;
}

/**
 * Returns the settings of a connection profile, in the types of D-Bus (`a{sa{sv}}`): WPA2 with a password, never the
 * default route, no name servers, not activated by itself.
 */
export function profileSettings(
  { ssid, password }: WifiCredentials,
  name: string,
): Record<string, Record<string, Typed>> {
  const open = password === '';
  return {
    connection: {
      id: new Typed('s', name),
      type: new Typed('s', '802-11-wireless'),
      autoconnect: new Typed('b', false),
    },
    '802-11-wireless': {
      ssid: new Typed('ay', Buffer.from(ssid, 'utf8')),
      mode: new Typed('s', 'infrastructure'),
    },
    ...(open
      ? {}
      : {
          '802-11-wireless-security': {
            'key-mgmt': new Typed('s', 'wpa-psk'),
            psk: new Typed('s', password),
          },
        }),
    ipv4: {
      method: new Typed('s', 'auto'),
      'never-default': new Typed('b', true),
      'ignore-auto-dns': new Typed('b', true),
      'may-fail': new Typed('b', false),
    },
    ipv6: {
      method: new Typed('s', 'link-local'),
      'never-default': new Typed('b', true),
    },
  };
}

import type { DeviceInfo } from '../../artemis/device-info.ts';

/** What Home Assistant is told about a camera (its documentation: "MQTT discovery"). */

/** One configuration message. */
export interface DiscoveryMessage {
  readonly topic: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Topics of one camera. */
export interface CameraTopics {
  readonly availability: string;
  /** JSON with the values of all sensors. */
  readonly state: string;
  /** JSON of each new picture. */
  readonly event: string;
  /** The newest picture as JPEG. */
  readonly image: string;
}

/** Returns the id of a camera as a part of topics. */
export function topicId(deviceId: string): string {
  return (
    deviceId
      .replace(/[^a-zA-Z0-9]/g, '')
      .toLowerCase()
      .slice(0, 32) || 'camera'
  );
}

export function cameraTopics(deviceId: string): CameraTopics {
  const base = `towpath/${topicId(deviceId)}`;
  return {
    availability: `${base}/availability`,
    state: `${base}/state`,
    event: `${base}/event`,
    image: `${base}/image`,
  };
}

/** Texts of the camera; a name of Home Assistant has no limit, but a card has. */
const MAX_NAME_CHARS = 64;

/** Returns the configuration of every entity of a camera. @param options `prefix` of Home Assistant's discovery */
export function discoveryMessages(
  info: DeviceInfo,
  options: { name?: string | undefined; prefix?: string | undefined } = {},
): DiscoveryMessage[] {
  const { prefix = 'homeassistant' } = options;
  const id = topicId(info.devId);
  const topics = cameraTopics(info.devId);
  const printable = (text: string | undefined) =>
    text?.replace(/[\p{Cc}\p{Cf}]/gu, '').slice(0, MAX_NAME_CHARS) || undefined;
  const device = {
    identifiers: [`towpath_${id}`],
    name: printable(options.name) ?? printable(info.cameraName) ?? printable(info.modelName) ?? `Camera ${id}`,
    manufacturer: printable(info.customName) ?? 'trail camera',
    model: printable(info.modelName),
    sw_version: printable(info.fwVerName),
  };
  const common = {
    device,
    origin: { name: 'towpath', sw_version: '0.1.0' },
    availability_topic: topics.availability,
    payload_available: 'online',
    payload_not_available: 'offline',
  };
  const message = (component: string, object: string, fields: Record<string, unknown>): DiscoveryMessage => ({
    topic: `${prefix}/${component}/towpath_${id}/${object}/config`,
    payload: { ...fields, unique_id: `towpath_${id}_${object}`, ...common },
  });
  const sensor = (object: string, name: string, fields: Record<string, unknown>) =>
    message('sensor', object, {
      name,
      state_topic: topics.state,
      value_template: `{{ value_json.${object} }}`,
      ...fields,
    });
  const measured = { state_class: 'measurement' };
  return [
    message('image', 'newest', { name: 'Newest picture', image_topic: topics.image, content_type: 'image/jpeg' }),
    message('event', 'picture', { name: 'Picture', state_topic: topics.event, event_types: ['picture'] }),
    message('binary_sensor', 'connected', {
      name: 'Connected',
      device_class: 'connectivity',
      entity_category: 'diagnostic',
      state_topic: topics.state,
      value_template: '{{ value_json.connected }}',
      payload_on: 'ON',
      payload_off: 'OFF',
    }),
    sensor('battery', 'Battery', { device_class: 'battery', unit_of_measurement: '%', ...measured }),
    sensor('temperature', 'Temperature', { device_class: 'temperature', unit_of_measurement: '°C', ...measured }),
    sensor('card_free', 'Card free', { device_class: 'data_size', unit_of_measurement: 'MB', ...measured }),
    sensor('round_trip', 'Round trip', {
      device_class: 'duration',
      unit_of_measurement: 'ms',
      entity_category: 'diagnostic',
      ...measured,
    }),
    sensor('last_picture', 'Last picture', { device_class: 'timestamp' }),
  ];
}

/** Values of a camera at this moment; undefined for what is not known. */
export interface CameraReadings {
  readonly connected: boolean;
  readonly info: DeviceInfo;
  readonly roundTripMs: number | undefined;
  readonly lastPictureAt: string | undefined;
}

/** Returns the message of the state topic. Home Assistant shows null as unknown. */
export function stateMessage({ connected, info, roundTripMs, lastPictureAt }: CameraReadings): Record<string, unknown> {
  return {
    connected: connected ? 'ON' : 'OFF',
    battery: info.batPercent ?? null,
    temperature: info.temperature ?? null,
    card_free: info.sdFreeMB ?? null,
    round_trip: roundTripMs === undefined ? null : Math.round(roundTripMs),
    last_picture: lastPictureAt ?? null,
  };
}

import { abortable, type Clock, deadline, errorMessage, type Log, silentLog, TowpathError } from '@towpath/core';
import type { MqttClient } from 'mqtt';
import type { DeviceInfo } from '../../artemis/device-info.ts';
import { eventJson, type PictureEvent } from '../picture-event.ts';
import { type CameraReadings, cameraTopics, discoveryMessages, stateMessage, topicId } from './discovery.ts';

export interface MqttOutputOptions {
  /** `mqtt://broker:1883` or `mqtts://…`, without a password. */
  readonly url: string;
  readonly username?: string | undefined;
  /** A secret. */
  readonly password?: string | undefined;
  /** The camera. */
  readonly info: DeviceInfo;
  /** Home Assistant's discovery prefix. @default homeassistant */
  readonly discoveryPrefix?: string;
}

/** Pause between connections to a broker that is away, ms. */
const RECONNECT_MS = 2_000;

/** Events that wait for the broker; at one a minute they last a week. */
const MAX_WAITING_EVENTS = 10_000;

/** Saying goodbye may not take longer, ms. */
const CLOSE_LIMIT_MS = 3_000;

const CONNECT_LIMIT_MS = 15_000;

/**
 * Publishes a camera to an MQTT broker, with discovery for Home Assistant. Events of pictures are sent at least once
 * (QoS 1) and wait in memory while the broker is away; of states and pictures only the newest is kept there (retained).
 */
export class MqttOutput implements AsyncDisposable {
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #options: MqttOutputOptions;
  readonly #log: Log;
  readonly #waiting = new Set<Promise<unknown>>();
  #readings: CameraReadings | undefined;
  #jpeg: Uint8Array | undefined;
  #dropped = 0;

  private constructor(client: MqttClient, clock: Clock, options: MqttOutputOptions, log: Log) {
    this.#client = client;
    this.#clock = clock;
    this.#options = options;
    this.#log = log;
    client.on('connect', () => this.#introduce());
    client.on('error', (error) => log.warn(`MQTT: ${errorMessage(error)}`));
    client.on('offline', () => log.info('The MQTT broker is away; events wait for it.'));
    client.on('message', (_topic, payload) => {
      // Home Assistant has started and asks for what it missed.
      if (payload.toString() === 'online') this.#introduce();
    });
  }

  /**
   * Connects to the broker and introduces the camera. From then on it reconnects by itself.
   * @throws TowpathError `mqtt-failed` when the first connection fails; the signal's reason
   */
  static async connect(
    { clock, log = silentLog }: { clock: Clock; log?: Log },
    options: MqttOutputOptions,
    signal?: AbortSignal,
  ): Promise<MqttOutput> {
    const { connectAsync } = await import('mqtt');
    signal?.throwIfAborted();
    const { url, username, password, info } = options;
    const { availability } = cameraTopics(info.devId);
    try {
      const client = await connectAsync(
        url,
        {
          clientId: `towpath_${topicId(info.devId)}`,
          ...(username !== undefined && { username }),
          ...(password !== undefined && { password }),
          clean: false,
          connectTimeout: CONNECT_LIMIT_MS,
          reconnectPeriod: RECONNECT_MS,
          will: { topic: availability, payload: Buffer.from('offline'), qos: 1, retain: true },
        },
        false,
      );
      const output = new MqttOutput(client, clock, options, log.child('MQTT'));
      if (signal?.aborted) {
        await output[Symbol.asyncDispose]();
        throw signal.reason;
      }
      output.#introduce();
      await client.subscribeAsync(`${options.discoveryPrefix ?? 'homeassistant'}/status`, { qos: 1 });
      return output;
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      const message = `The MQTT broker ${url} was not reached (${errorMessage(cause)}). Next: check its address, user and password.`;
      throw new TowpathError('mqtt-failed', message, { cause, kind: 'unreachable', target: url });
    }
  }

  /** Events that the broker has not confirmed yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Publishes values; only the newest counts. */
  update(readings: CameraReadings): void {
    this.#readings = readings;
    if (this.#client.connected) this.#publishState();
  }

  /** Publishes a new picture. */
  picture(event: PictureEvent): void {
    if (this.#waiting.size >= MAX_WAITING_EVENTS) {
      this.#log.warn(`The MQTT broker is away for too long: ${++this.#dropped} events are lost.`);
    } else {
      const { event: topic } = cameraTopics(this.#options.info.devId);
      const sent = this.#client.publishAsync(topic, JSON.stringify(eventJson(event)), { qos: 1 });
      const done = sent
        .catch((error: unknown) => this.#log.warn(`An event was not published: ${errorMessage(error)}`))
        .finally(() => this.#waiting.delete(done));
      this.#waiting.add(done);
    }
    if (event.jpeg === undefined) return;
    this.#jpeg = event.jpeg;
    if (this.#client.connected) this.#publishImage();
  }

  /** Says that the camera is offline, and disconnects. Events that wait are lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#client.connected) {
      const { availability } = cameraTopics(this.#options.info.devId);
      const goodbye = Promise.all([
        this.#client.publishAsync(availability, 'offline', { qos: 1, retain: true }),
        ...this.#waiting,
      ]);
      using limit = deadline(this.#clock, CLOSE_LIMIT_MS);
      // When the broker is gone, its last will says the same.
      await abortable(goodbye, limit.signal).catch(() => {});
    }
    await this.#client.endAsync(true);
  }

  /** Everything that a broker forgets when it is restarted. */
  #introduce(): void {
    const { info, discoveryPrefix } = this.#options;
    for (const { topic, payload } of discoveryMessages(info, discoveryPrefix))
      this.#retain(topic, JSON.stringify(payload));
    this.#retain(cameraTopics(info.devId).availability, 'online');
    this.#publishState();
    this.#publishImage();
  }

  #publishState(): void {
    if (this.#readings === undefined) return;
    this.#retain(cameraTopics(this.#options.info.devId).state, JSON.stringify(stateMessage(this.#readings)));
  }

  #publishImage(): void {
    if (this.#jpeg !== undefined) this.#retain(cameraTopics(this.#options.info.devId).image, Buffer.from(this.#jpeg));
  }

  #retain(topic: string, payload: string | Buffer): void {
    this.#client.publish(topic, payload, { qos: 1, retain: true }, (error) => {
      if (error) this.#log.debug(`${topic} was not published: ${errorMessage(error)}`);
    });
  }
}

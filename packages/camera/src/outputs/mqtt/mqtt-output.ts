import {
  abortable,
  type Clock,
  deadline,
  errorCode,
  errorMessage,
  type Log,
  type Random,
  silentLog,
  type Timer,
  TowpathError,
} from '@towpath/core';
import type { IClientOptions, MqttClient } from 'mqtt';
import type { DeviceInfo } from '../../artemis/device-info.ts';
import { Delivery } from '../events/delivery.ts';
import type { EventQueue } from '../events/event-queue.ts';
import { ReceiverHealth } from '../events/receiver-health.ts';
import { eventJson, type PictureEvent } from '../picture-event.ts';
import { type CameraReadings, cameraTopics, discoveryMessages, stateMessage, topicId } from './discovery.ts';
import { watchPackets } from './packet-limit.ts';

export interface MqttOutputComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log | undefined;
  /** Where events wait for the broker. */
  readonly queue: EventQueue;
  /** Is told whether the broker takes events. @default one that warns once while the broker is away */
  readonly health?: ReceiverHealth | undefined;
}

export interface MqttOutputOptions {
  /** `mqtt://broker:1883` or `mqtts://…`, without a password. */
  readonly url: string;
  readonly username?: string | undefined;
  /** A secret. */
  readonly password?: string | undefined;
  /** PEM of the authorities that sign the broker's certificate, instead of the system's. */
  readonly authorities?: string | undefined;
  /** The camera. */
  readonly info: DeviceInfo;
  /** Name of the camera for people. @default what the camera calls itself */
  readonly name?: string | undefined;
  /** Home Assistant's discovery prefix. @default homeassistant */
  readonly discoveryPrefix?: string | undefined;
  /** Begin although the broker is not reached yet, and go on trying. @default false */
  readonly patient?: boolean;
}

/** Pause between connections to a broker that is away, ms. */
const RECONNECT_MS = 2_000;

/** Saying goodbye may not take longer, ms. */
const CLOSE_LIMIT_MS = 3_000;

const CONNECT_LIMIT_MS = 15_000;

/** What Home Assistant publishes when it has started. */
const ONLINE = 'online';

/** Shortest time between two introductions that are asked for, ms: each sends the newest picture. */
const INTRODUCTION_MS = 10_000;

/** What is subscribed to has a few bytes, and so have all other packets of a broker. */
const MAX_PACKET_BYTES = 64 * 1024;

/**
 * Packets per second besides one for each that was sent: answers, and what others publish. A broker that sends tiny ones
 * without end would keep this process busy with them alone.
 */
const PACKETS_PER_SECOND = 1_000;
const PACKETS_AT_ONCE = 10_000;

/** Ends a connection, of this client and whenever it connects again, over which larger or too many packets come. */
function limitPackets(client: MqttClient, clock: Clock): void {
  let budget = PACKETS_AT_ONCE;
  let countedMs = clock.now();
  const allow = () => {
    const nowMs = clock.now();
    budget = Math.min(PACKETS_AT_ONCE, budget + ((nowMs - countedMs) * PACKETS_PER_SECOND) / 1_000) - 1;
    countedMs = nowMs;
    return budget >= 0;
  };
  client.on('packetsend', () => {
    budget++;
  });
  const connect = client.connect.bind(client);
  client.connect = () => {
    connect();
    const { stream } = client;
    watchPackets(stream, { maxBytes: MAX_PACKET_BYTES, allow }, (why) => {
      const error = new Error(why);
      // The client reports that a connection was closed, and not why.
      client.emit('error', error);
      stream.destroy(error);
    });
    return client;
  };
}

/**
 * Disconnects for good. A client that is ended before the broker has answered would connect again by itself, because it
 * forgets that it was ended (`manualConnect`) before its connection is closed.
 */
async function endClient(client: MqttClient): Promise<void> {
  client.options.reconnectPeriod = 0;
  await client.endAsync(true);
}

/**
 * Publishes a camera to an MQTT broker, with discovery for Home Assistant. Events of pictures are sent at least once
 * (QoS 1) and wait in the queue while the broker is away; of states and pictures only the newest is kept there (retained).
 */
export class MqttOutput implements AsyncDisposable {
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #options: MqttOutputOptions;
  readonly #log: Log;
  readonly #queue: EventQueue;
  readonly #delivery: Delivery;
  /** Topics of a retained message that the broker has not confirmed yet, and what is published there next. */
  readonly #sending = new Set<string>();
  readonly #next = new Map<string, string | Buffer>();
  #introducing: Timer | undefined;
  #introducedMs = Number.NEGATIVE_INFINITY;
  #readings: CameraReadings | undefined;
  #jpeg: Uint8Array | undefined;

  private constructor(components: MqttOutputComponents & { client: MqttClient }, options: MqttOutputOptions) {
    const { client, log = silentLog } = components;
    this.#client = client;
    this.#clock = components.clock;
    this.#queue = components.queue;
    this.#options = options;
    this.#log = log;
    const health = components.health ?? new ReceiverHealth({ ...components, log }, { repeated: 'debug' });
    client.on('connect', () => {
      health.works();
      this.#introduce();
    });
    client.on('error', (error) => {
      const next = trustAdvice(error, options);
      health.failed(
        `The MQTT broker was not reached: ${reasonOf(error)}${next === undefined ? '' : `. Next: ${next}.`}`,
      );
    });
    client.on('offline', () => {
      // A broker that hangs up says no more; an error before it says why.
      if (health.failure === undefined) health.failed('The MQTT broker has closed the connection.');
    });
    client.on('message', (_topic, payload) => {
      // Home Assistant has started and asks for what it missed.
      if (payload.length === ONLINE.length && payload.toString() === ONLINE) this.#introduceSoon();
    });
    this.#delivery = new Delivery({ ...components, log, health }, (event, signal) => this.#deliver(event, signal));
  }

  /**
   * Connects to the broker and introduces the camera. From then on it reconnects by itself.
   * @throws TowpathError `mqtt-failed` when the first connection fails; the signal's reason
   */
  static async connect(
    components: MqttOutputComponents,
    options: MqttOutputOptions,
    signal?: AbortSignal,
  ): Promise<MqttOutput> {
    const { connect } = await import('mqtt');
    signal?.throwIfAborted();
    const { url, username, password, authorities, info, patient = false } = options;
    const { availability } = cameraTopics(info.devId);
    const settings: IClientOptions = {
      clientId: `towpath_${topicId(info.devId)}`,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(authorities !== undefined && { ca: authorities }),
      clean: false,
      connectTimeout: CONNECT_LIMIT_MS,
      reconnectPeriod: RECONNECT_MS,
      reconnectOnConnackError: patient,
      will: { topic: availability, payload: Buffer.from('offline'), qos: 1, retain: true },
    };
    let client: MqttClient | undefined;
    using limit = deadline(components.clock, CONNECT_LIMIT_MS, signal);
    try {
      client = connect(url, { ...settings, manualConnect: true });
      // An error while nobody listens would be thrown.
      client.on('error', () => {});
      limitPackets(client, components.clock);
      client.connect();
      if (!patient) await abortable(firstConnection(client), limit.signal);
      const log = (components.log ?? silentLog).child('MQTT');
      const output = new MqttOutput({ ...components, client, log }, options);
      if (client.connected) output.#introduce();
      const subscribed = client.subscribeAsync(`${options.discoveryPrefix ?? 'homeassistant'}/status`, { qos: 1 });
      // While the broker is away it waits with everything else, and fails when the client is closed meanwhile.
      if (patient) subscribed.catch(() => {});
      else {
        // A broker that accepts a client and then says nothing more must not hold it for ever.
        await abortable(subscribed, limit.signal).catch(async (error: unknown) => {
          await output.#stop();
          throw error;
        });
      }
      return output;
    } catch (cause) {
      if (client !== undefined) await endClient(client);
      signal?.throwIfAborted();
      const next = trustAdvice(cause, options) ?? 'check its address, user and password';
      const message = `The MQTT broker ${url} was not reached (${reasonOf(cause)}). Next: ${next}.`;
      throw new TowpathError('mqtt-failed', message, { cause, kind: 'unreachable', target: url });
    }
  }

  /** Events that the broker has not confirmed yet. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Publishes values; only the newest counts. */
  update(readings: CameraReadings): void {
    this.#readings = readings;
    if (this.#client.connected) this.#publishState();
  }

  /** Publishes a new picture. Resolves when its event is where the queue keeps it. */
  picture(event: PictureEvent): Promise<void> {
    return this.#queue.put(event);
  }

  /** Says that the camera is offline, and disconnects. Events that wait stay in the queue. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    if (this.#client.connected) {
      const { availability } = cameraTopics(this.#options.info.devId);
      const goodbye = this.#client.publishAsync(availability, 'offline', { qos: 1, retain: true });
      using limit = deadline(this.#clock, CLOSE_LIMIT_MS);
      // When the broker is gone, its last will says the same.
      await abortable(goodbye, limit.signal).catch(() => {});
    }
    await endClient(this.#client);
  }

  async #stop(): Promise<void> {
    await this.#delivery[Symbol.asyncDispose]();
    this.#client.removeAllListeners('message');
    this.#introducing?.cancel();
  }

  /** Resolves when the broker has confirmed the event; the client sends it again after a new connection. */
  async #deliver(event: PictureEvent, signal: AbortSignal): Promise<undefined> {
    // The picture first: whoever is told of the event finds it.
    if (event.jpeg !== undefined) {
      this.#jpeg = event.jpeg;
      if (this.#client.connected) this.#publishImage();
    }
    const { event: topic } = cameraTopics(this.#options.info.devId);
    const sent = this.#client.publishAsync(topic, JSON.stringify(eventJson(event)), { qos: 1 });
    await abortable(sent, signal);
  }

  /** Introduces the camera at once, or when the last time is long enough ago. */
  #introduceSoon(): void {
    if (this.#introducing !== undefined) return;
    const waitMs = this.#introducedMs + INTRODUCTION_MS - this.#clock.now();
    if (waitMs <= 0) {
      this.#introduce();
      return;
    }
    this.#introducing = this.#clock.timer(waitMs, () => {
      this.#introducing = undefined;
      this.#introduce();
    });
  }

  /** Everything that a broker forgets when it is restarted. */
  #introduce(): void {
    this.#introducedMs = this.#clock.now();
    const { info, name, discoveryPrefix } = this.#options;
    for (const { topic, payload } of discoveryMessages(info, { name, prefix: discoveryPrefix }))
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

  /** Publishes the newest payload of a topic: one at a time, so that a broker that confirms nothing queues nothing up. */
  #retain(topic: string, payload: string | Buffer): void {
    if (this.#sending.has(topic)) {
      this.#next.set(topic, payload);
      return;
    }
    this.#sending.add(topic);
    this.#client.publish(topic, payload, { qos: 1, retain: true }, (error) => {
      if (error) this.#log.debug(`${topic} was not published: ${errorMessage(error)}`);
      this.#sending.delete(topic);
      const next = this.#next.get(topic);
      this.#next.delete(topic);
      if (next !== undefined && !error) this.#retain(topic, next);
    });
  }
}

/** Codes of certificates that no trusted authority has signed. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_GET_ISSUER_CERT',
]);

/** What to do about a certificate that is not accepted; undefined for any other error. */
function trustAdvice(error: unknown, { authorities }: MqttOutputOptions): string | undefined {
  const code = errorCode(error);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'use a name or an address that its certificate has';
  if (!UNTRUSTED.has(code)) return undefined;
  return authorities === undefined
    ? 'give the authority of its certificate, which the system does not trust: --mqtt-ca FILE, or "ca" in the configuration'
    : 'give the authority that has signed its certificate; that of --mqtt-ca, or "ca" in the configuration, has not';
}

/** Why a broker was not reached, for people: without the words of the TLS library and of the client's source. */
function reasonOf(error: unknown): string {
  if (errorCode(error) === 'EPROTO')
    return 'it does not answer in TLS; check the port, and whether the broker has TLS there';
  const message = errorMessage(error);
  return message === 'connack timeout' ? `it has not answered within ${CONNECT_LIMIT_MS / 1_000} s` : message;
}

/** Resolves when a client is connected for the first time. Rejects with its first error, or when the broker hangs up. */
function firstConnection(client: MqttClient): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: () => void) => {
      client.off('connect', connected);
      client.off('error', failed);
      client.off('close', closed);
      outcome();
    };
    const connected = () => settle(resolve);
    const failed = (error: Error) => settle(() => reject(error));
    const closed = () => settle(() => reject(new Error('it closed the connection')));
    client.once('connect', connected);
    client.once('error', failed);
    client.once('close', closed);
  });
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceInfo, MediaItem } from '@towpath/camera';
import { EventQueue, MqttOutput } from '@towpath/camera/outputs';
import { SystemClock, SystemRandom } from '@towpath/core';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { freePorts } from '../../packages/net/test/free-port.ts';

const missing = spawnSync('mosquitto', ['-h']).error !== undefined;
if (missing) console.warn('camera-mqtt: mosquitto is not installed (Debian: apt-get install mosquitto)');

const clock = new SystemClock();
const random = new SystemRandom();
const PASSWORD = 'br0ker-secret';

/** What Home Assistant's documentation requires of the entities that are used here; unknown keys are refused. */
const device = z.strictObject({
  identifiers: z.array(z.string()).min(1),
  name: z.string().min(1),
  manufacturer: z.string().optional(),
  model: z.string().optional(),
  sw_version: z.string().optional(),
});
const common = {
  name: z.string().min(1),
  unique_id: z.string().min(1),
  device,
  origin: z.strictObject({ name: z.string().min(1), sw_version: z.string().optional() }),
  availability_topic: z.string(),
  payload_available: z.string(),
  payload_not_available: z.string(),
  entity_category: z.enum(['config', 'diagnostic']).optional(),
};
const UNITS: Record<string, readonly (string | undefined)[]> = {
  battery: ['%'],
  temperature: ['°C', '°F', 'K'],
  data_size: ['bit', 'B', 'kB', 'MB', 'GB'],
  duration: ['d', 'h', 'min', 's', 'ms'],
  timestamp: [undefined],
};
const ENTITIES = {
  image: z.strictObject({ ...common, image_topic: z.string(), content_type: z.string() }),
  event: z.strictObject({ ...common, state_topic: z.string(), event_types: z.array(z.string()).min(1) }),
  binary_sensor: z.strictObject({
    ...common,
    state_topic: z.string(),
    value_template: z.string(),
    device_class: z.literal('connectivity'),
    payload_on: z.string(),
    payload_off: z.string(),
  }),
  sensor: z
    .strictObject({
      ...common,
      state_topic: z.string(),
      value_template: z.string(),
      device_class: z.string(),
      unit_of_measurement: z.string().optional(),
      state_class: z.enum(['measurement', 'total', 'total_increasing']).optional(),
    })
    .refine(({ device_class, unit_of_measurement }) => UNITS[device_class]?.includes(unit_of_measurement)),
};

/** A broker that keeps what it was told, and asks for a password. */
class Broker {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'towpath-mqtt-'));
  port = 0;
  #process: ChildProcess | undefined;

  async start(): Promise<void> {
    if (this.port === 0) {
      this.port = (await freePorts(1))[0]!;
      const users = join(this.folder, 'users');
      writeFileSync(users, '', { mode: 0o600 });
      spawnSync('mosquitto_passwd', ['-b', users, 'towpath', PASSWORD]);
      const lines = [`listener ${this.port} 127.0.0.1`, 'allow_anonymous false', `password_file ${users}`];
      // Started by root it would become another user, who may not read the folder.
      lines.push('user root', 'persistence true', `persistence_location ${this.folder}/`, 'log_type none');
      writeFileSync(join(this.folder, 'mosquitto.conf'), `${lines.join('\n')}\n`);
    }
    this.#process = spawn('mosquitto', ['-c', join(this.folder, 'mosquitto.conf')], { stdio: 'ignore' });
    while (!(await this.#answers())) await sleep(50);
  }

  async stop(): Promise<void> {
    if (this.#process === undefined) return;
    this.#process.kill();
    await once(this.#process, 'exit');
    this.#process = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connectTcp(this.port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
  }
}

const info = {
  devId: 'C2:00:5E:00:53:0A',
  cameraName: 'Deer\u001b[2J Path',
  modelName: 'KJK230',
  fwVerName: '2.3.0.4',
  batPercent: 70,
  temperature: 12,
  sdFreeMB: 30_000,
  fields: {},
} satisfies DeviceInfo;

const item = (mediaNum: number): MediaItem => ({
  fileType: 0,
  dirNum: 100,
  mediaNum,
  durationMs: 0,
  mediaId: mediaNum,
  mediaTime: 1_700_000_000 + mediaNum,
});
const picture = (mediaNum: number, jpeg = Uint8Array.of(0xff, 0xd8, mediaNum)) => ({
  camera: info.devId,
  item: item(mediaNum),
  takenAt: '2026-05-01T18:30:12+02:00',
  jpeg,
});

describe.skipIf(missing && !process.env.CI)('a camera on an MQTT broker, as Home Assistant sees it (B13)', () => {
  let broker: Broker;
  let reader: MqttClient;
  /** Last message of each topic, and all events. */
  let topics: Map<string, Buffer>;
  let events: { mediaNum: number }[];
  let queue: EventQueue;
  let output: MqttOutput;

  const url = () => `mqtt://127.0.0.1:${broker.port}`;
  const json = (topic: string) => JSON.parse(String(topics.get(topic) ?? 'null'));

  beforeEach(async () => {
    broker = new Broker();
    topics = new Map();
    events = [];
    await broker.start();
    const login = { username: 'towpath', password: PASSWORD };
    reader = await connectAsync(url(), { ...login, clientId: 'reader', clean: false, reconnectPeriod: 200 });
    reader.on('message', (topic, payload) => {
      topics.set(topic, payload);
      if (topic.endsWith('/event')) events.push(JSON.parse(payload.toString()));
    });
    await reader.subscribeAsync(['towpath/#', 'homeassistant/#'], { qos: 1 });
    queue = await EventQueue.open({ clock }, { folder: join(broker.folder, 'events') });
    output = await MqttOutput.connect({ clock, random, queue }, { url: url(), ...login, info });
  });

  afterEach(async () => {
    await output[Symbol.asyncDispose]();
    await reader.endAsync(true);
    await broker.remove();
  });

  test('discovery has every entity, as the documented schema wants it', async () => {
    await expect.poll(() => topics.get('towpath/c2005e00530a/availability')?.toString()).toBe('online');
    const configs = [...topics.keys()].filter((topic) => topic.endsWith('/config'));
    expect(configs.map((topic) => topic.split('/').slice(1, 4).join('/')).sort()).toEqual(
      [
        ...['binary_sensor/towpath_c2005e00530a/connected', 'event/towpath_c2005e00530a/picture'],
        ...['image/towpath_c2005e00530a/newest', 'sensor/towpath_c2005e00530a/battery'],
        ...['sensor/towpath_c2005e00530a/card_free', 'sensor/towpath_c2005e00530a/last_picture'],
        ...['sensor/towpath_c2005e00530a/round_trip', 'sensor/towpath_c2005e00530a/temperature'],
      ].sort(),
    );
    const ids = new Set<string>();
    for (const topic of configs) {
      const component = topic.split('/')[1] as keyof typeof ENTITIES;
      const parsed = ENTITIES[component].parse(json(topic));
      ids.add(parsed.unique_id);
      expect(parsed.device.name).toBe('Deer[2J Path');
    }
    expect(ids.size).toBe(configs.length);
  });

  test('states, the newest picture and its event arrive under the announced topics', async () => {
    output.update({ connected: true, info, roundTripMs: 12.4, lastPictureAt: '2026-05-01T18:30:12+02:00' });
    await output.picture(picture(7));
    await expect.poll(() => events.length).toBe(1);
    expect(events).toEqual([
      {
        event_type: 'picture',
        id: 'c2005e00530a-0-100-7-7-1700000007',
        camera: info.devId,
        kind: 'photo',
        dirNum: 100,
        mediaNum: 7,
        mediaId: 7,
        takenAt: '2026-05-01T18:30:12+02:00',
        bytes: 3,
      },
    ]);
    await expect.poll(() => topics.get('towpath/c2005e00530a/image')).toEqual(Buffer.of(0xff, 0xd8, 7));
    await expect
      .poll(() => json('towpath/c2005e00530a/state'))
      .toEqual({
        connected: 'ON',
        battery: 70,
        temperature: 12,
        card_free: 30_000,
        round_trip: 12,
        last_picture: '2026-05-01T18:30:12+02:00',
      });
  });

  test('no event is lost while the broker is restarted, and the newest picture is there afterwards', async () => {
    await output.picture(picture(1));
    await expect.poll(() => events.length).toBe(1);
    await broker.stop();
    for (const n of [2, 3, 4]) await output.picture(picture(n));
    await sleep(300);
    expect(output.waiting).toBe(3);
    await broker.start();
    await expect.poll(() => [...new Set(events.map(({ mediaNum }) => mediaNum))].sort()).toEqual([1, 2, 3, 4]);
    await expect.poll(() => output.waiting).toBe(0);
    await expect.poll(() => topics.get('towpath/c2005e00530a/image')).toEqual(Buffer.of(0xff, 0xd8, 4));
    await expect.poll(() => topics.get('towpath/c2005e00530a/availability')?.toString()).toBe('online');
  });

  test('events wait for the broker over the end of the program, and the next one sends them', async () => {
    await broker.stop();
    for (const n of [1, 2]) await output.picture(picture(n));
    await output[Symbol.asyncDispose]();
    const again = await EventQueue.open({ clock }, { folder: join(broker.folder, 'events') });
    expect(again.size).toBe(2);
    const login = { username: 'towpath', password: PASSWORD };
    // The broker is away: a patient output begins nevertheless.
    output = await MqttOutput.connect(
      { clock, random, queue: again },
      { url: url(), ...login, info, patient: true, name: 'North gate' },
    );
    await output.picture(picture(3));
    await broker.start();
    await expect
      .poll(() => [...new Set(events.map(({ mediaNum }) => mediaNum))], { timeout: 60_000 })
      .toEqual([1, 2, 3]);
    await expect.poll(() => output.waiting).toBe(0);
    await expect.poll(() => topics.get('towpath/c2005e00530a/image')).toEqual(Buffer.of(0xff, 0xd8, 3));
    await expect
      .poll(() => json('homeassistant/image/towpath_c2005e00530a/newest/config')?.device.name)
      .toBe('North gate');
  });

  test('the end is announced', async () => {
    await output[Symbol.asyncDispose]();
    await expect.poll(() => topics.get('towpath/c2005e00530a/availability')?.toString()).toBe('offline');
  });

  test('a wrong password is an error that does not contain it', async () => {
    const wrong = MqttOutput.connect(
      { clock, random, queue },
      { url: url(), username: 'towpath', password: 'guess', info },
    );
    const error = await wrong.catch((reason: Error) => reason);
    expect(error).toMatchObject({ code: 'mqtt-failed', message: expect.stringContaining('Next: check its address') });
    expect(String(error)).not.toContain('guess');
  });
});

import { join } from 'node:path';
import { captureTime, type CameraClient, type DeviceInfo, FileType, watchChecks } from '@towpath/camera';
import {
  HttpOutputs,
  MqttOutput,
  NewestPicture,
  type PictureEvent,
  RtspServer,
  Webhook,
} from '@towpath/camera/outputs';
import { AbortedError, errorMessage, isAbort, SystemRandom } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { readPrivateFile, writePrivateFile } from '../../config/private-file.ts';
import { readSecret } from '../../config/secret-file.ts';
import { itemName } from './media.ts';
import { openCamera, type TargetOptions } from './target.ts';
import { type Say, speaker, tell } from './watch.ts';

interface OutputsOptions extends TargetOptions {
  rtsp?: Endpoint;
  http?: Endpoint;
  mqtt?: string;
  webhook?: string;
  /** Password of RTSP and HTTP, and key of the webhook's signature. */
  passwordFile?: string;
  mqttUser?: string;
  mqttPasswordFile?: string;
  allowHost?: string[];
  /** Seconds. */
  every: number;
  /** Seconds. */
  for?: number;
}

/** Name of those who watch by RTSP and HTTP. */
const USER = 'towpath';

/** Battery, temperature and card are read again at this interval, ms. */
const INFO_MS = 5 * 60_000;

/** `towpath camera outputs` */
export async function outputs(runtime: Runtime, host: string, options: OutputsOptions): Promise<void> {
  checkOptions(options);
  const { clock, log } = runtime;
  const over = new AbortController();
  const signal = AbortSignal.any([runtime.signal, over.signal]);
  const say = speaker(runtime, options.json ?? false);
  const password = passwordOf(runtime, options);
  await using stack = new AsyncDisposableStack();
  const camera = stack.use(openCamera(runtime, host, options));
  tell(camera, say);
  await camera.connectWithRetries({ signal });
  const running = await open(runtime, options, { camera, password, say, stack, signal });
  using _limit = clock.timer((options.for ?? Number.POSITIVE_INFINITY) * 1_000, () =>
    over.abort(new AbortedError('Time is up.')),
  );
  try {
    const checks = watchChecks({ client: camera, clock, log, everyMs: options.every * 1_000, signal });
    let first = true;
    for await (const { items } of checks) {
      // What was on the card at the start is not new.
      if (!first) for (const item of items) await running.announce(item, signal);
      else running.see(items.at(-1));
      first = false;
      await running.refresh(signal);
    }
  } catch (error) {
    if (!isAbort(error) || runtime.signal.aborted) throw error;
  }
}

function checkOptions({ rtsp, http, mqtt, webhook }: OutputsOptions): void {
  if (rtsp === undefined && http === undefined && mqtt === undefined && webhook === undefined) {
    throw new UsageError('No output was chosen. Next: give --rtsp, --http, --mqtt or --webhook.');
  }
  for (const [name, url, protocols] of [
    ['--mqtt', mqtt, ['mqtt:', 'mqtts:']],
    ['--webhook', webhook, ['http:', 'https:']],
  ] as const) {
    if (url === undefined) continue;
    const parsed = URL.parse(url);
    if (parsed === null || !(protocols as readonly string[]).includes(parsed.protocol)) {
      throw new UsageError(`${name} takes a URL that begins with ${protocols.join('// or ')}//.`);
    }
    if (parsed.password !== '' || parsed.username !== '') {
      throw new UsageError(
        `${name} takes no password: other users can see it. Next: use ${name === '--mqtt' ? '--mqtt-user and --mqtt-password-file' : '--password-file'}.`,
      );
    }
  }
}

/** The given password, or one that is made once and kept in the configuration folder. */
function passwordOf(runtime: Runtime, { passwordFile, rtsp, http, webhook }: OutputsOptions): string {
  if (passwordFile !== undefined) {
    const password = readSecret(passwordFile);
    if (password === '') throw new UsageError(`${passwordFile} is empty. Next: write a password into it.`);
    return password;
  }
  if (rtsp === undefined && http === undefined && webhook === undefined) return '';
  const path = join(runtime.configFolder, 'outputs-password');
  const stored = readPrivateFile(path)?.trim();
  if (stored) return stored;
  const made = Buffer.from(new SystemRandom().bytes(15)).toString('base64url');
  writePrivateFile(path, `${made}\n`);
  return made;
}

interface Parts {
  readonly camera: CameraClient;
  readonly password: string;
  readonly say: Say;
  readonly stack: AsyncDisposableStack;
  readonly signal: AbortSignal;
}

/** Opens every output that was asked for; `stack` closes them. */
async function open(runtime: Runtime, options: OutputsOptions, parts: Parts): Promise<Outputs> {
  const { clock, network, random, log } = runtime;
  const { camera, password, say, stack, signal } = parts;
  const { rtsp, http, mqtt, webhook, allowHost, passwordFile } = options;
  const info = await camera.deviceInfo({ signal });
  const newest = new NewestPicture({ client: camera });
  const secret = passwordFile ?? join(runtime.configFolder, 'outputs-password');
  const listens = (what: string, url: string, endpoint: Endpoint) =>
    say('output', `${url} user ${USER}, password in ${secret}`, { output: what, url, endpoint, user: USER });
  if (rtsp !== undefined) {
    const user = { name: USER, password };
    const components = { network, clock, random: new SystemRandom(), log, source: camera };
    const server = stack.use(await RtspServer.listen(components, { ...rtsp, user }));
    listens('rtsp', `rtsp://${formatEndpoint(server.local)}/live`, server.local);
  }
  if (http !== undefined) {
    const access = { user: USER, password, ...(allowHost !== undefined && { allowHosts: allowHost }) };
    const server = stack.use(await HttpOutputs.listen({ clock, log, source: camera, newest }, { ...http, ...access }));
    listens('http', `http://${formatEndpoint(server.local)}/snapshot.jpg`, server.local);
  }
  const broker =
    mqtt === undefined
      ? undefined
      : stack.use(
          await MqttOutput.connect(
            { clock, log },
            {
              url: mqtt,
              info,
              ...(options.mqttUser !== undefined && { username: options.mqttUser }),
              ...(options.mqttPasswordFile !== undefined && { password: readSecret(options.mqttPasswordFile) }),
            },
            signal,
          ),
        );
  if (broker !== undefined) say('output', `${mqtt} with discovery for Home Assistant`, { output: 'mqtt', url: mqtt });
  const hook =
    webhook === undefined
      ? undefined
      : stack.use(new Webhook({ clock, random, log }, { url: webhook, secret: password }));
  if (hook !== undefined) say('output', `${webhook} for each new picture`, { output: 'webhook', url: webhook });
  const running = new Outputs(runtime, options, { camera, info, newest, broker, hook, say });
  stack.defer(camera.events.on('state', () => running.publish()));
  return running;
}

interface Receivers {
  readonly camera: CameraClient;
  readonly info: DeviceInfo;
  readonly newest: NewestPicture;
  readonly broker: MqttOutput | undefined;
  readonly hook: Webhook | undefined;
  readonly say: Say;
}

/** Tells the receivers what happens. */
class Outputs {
  readonly #runtime: Runtime;
  readonly #timeZone: string | undefined;
  readonly #receivers: Receivers;
  #info: DeviceInfo;
  #readAt: number;
  #lastPictureAt: string | undefined;

  constructor(runtime: Runtime, { cameraTimeZone }: OutputsOptions, receivers: Receivers) {
    this.#runtime = runtime;
    this.#timeZone = cameraTimeZone;
    this.#receivers = receivers;
    this.#info = receivers.info;
    this.#readAt = runtime.clock.now();
    this.publish();
  }

  /** The newest item at the start. */
  see(item: PictureEvent['item'] | undefined): void {
    if (item !== undefined) this.#lastPictureAt = captureTime(item.mediaTime, this.#timeZone)?.iso;
    this.publish();
  }

  /** Fetches a new item, when anybody wants its picture, and announces it. */
  async announce(item: PictureEvent['item'], signal: AbortSignal): Promise<void> {
    const { broker, hook, newest, say } = this.#receivers;
    const takenAt = captureTime(item.mediaTime, this.#timeZone)?.iso;
    say('picture', itemName(item), { item });
    this.#lastPictureAt = takenAt ?? this.#lastPictureAt;
    if (broker !== undefined || hook !== undefined) {
      const jpeg =
        item.fileType === FileType.photo ? await this.#quietly(() => newest.fetch(item, signal), signal) : undefined;
      const event = { camera: this.#info.devId, item, takenAt, jpeg };
      broker?.picture(event);
      hook?.picture(event);
    }
    this.publish();
  }

  /** Reads battery, temperature and card from time to time. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { broker, camera } = this.#receivers;
    const { clock } = this.#runtime;
    if (broker === undefined || clock.now() - this.#readAt < INFO_MS) return;
    this.#readAt = clock.now();
    this.#info = (await this.#quietly(() => camera.deviceInfo({ signal }), signal)) ?? this.#info;
    this.publish();
  }

  publish(): void {
    const { broker, camera } = this.#receivers;
    const path = camera.path;
    const roundTripMs = path?.artemis.carrier.stats.rttMs;
    broker?.update({
      connected: path !== undefined,
      info: this.#info,
      roundTripMs,
      lastPictureAt: this.#lastPictureAt,
    });
  }

  /** A failure of one read does not end the outputs: the event matters more than its picture. */
  async #quietly<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      this.#runtime.log.info(`A read for the outputs failed: ${errorMessage(error)}`);
      return undefined;
    }
  }
}

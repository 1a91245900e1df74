import { captureTime, type CameraClient, type DeviceInfo, FileType, watchChecks } from '@towpath/camera';
import { NewestPicture, type PictureEvent } from '@towpath/camera/outputs';
import { errorMessage, isAbort } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { readAuthorities } from '../../config/secret-file.ts';
import { CameraOutputs, type OutputsConfig, type ReceiverState, receiverText } from '../../outputs/camera-outputs.ts';
import { counted } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { isOverTls, outputUrlFault, URL_BEGINNINGS } from '../../outputs/output-url.ts';
import { itemName } from './media.ts';
import { cameraRuntime, openCamera, type TargetOptions } from './target.ts';
import { timeLimit, withinTime } from './time-limit.ts';
import { raceTeller, type Say, speaker, tell } from './watch.ts';

interface OutputsOptions extends TargetOptions {
  rtsp?: Endpoint;
  http?: Endpoint;
  mqtt?: string;
  webhook?: string;
  /** Password of RTSP and HTTP, and key of the webhook's signature. */
  passwordFile?: string;
  mqttUser?: string;
  mqttPasswordFile?: string;
  /** PEM of the authority of the broker's certificate. */
  mqttCa?: string;
  allowHost?: string[];
  /** Seconds. */
  every: number;
  /** Seconds. */
  for?: number;
}

/** Battery, temperature and card are read again at this interval, ms. */
const INFO_MS = 5 * 60_000;

/** `towpath camera outputs` */
export async function outputs(runtime: Runtime, host: string, options: OutputsOptions): Promise<void> {
  checkOptions(options);
  const { clock, log } = runtime;
  const say = speaker(runtime, options.json ?? false);
  await using camera = openCamera(cameraRuntime(runtime), host, options, raceTeller(say));
  tell(camera, say);
  await camera.connectWithRetries({ signal: runtime.signal });
  using limit = timeLimit(runtime, options.for);
  const { signal } = limit;
  await using running = await Running.open(runtime, options, { camera, say, signal });
  try {
    const checks = watchChecks({ client: camera, clock, log, everyMs: options.every * 1_000, signal });
    for await (const { items } of checks) {
      await running.announce(items, signal);
      await running.refresh(signal);
    }
  } catch (error) {
    if (!isAbort(error) || runtime.signal.aborted) throw error;
  }
  running.tellWaiting();
}

function checkOptions({ rtsp, http, mqtt, webhook, mqttCa }: OutputsOptions): void {
  if (rtsp === undefined && http === undefined && mqtt === undefined && webhook === undefined) {
    throw new UsageError('No output was chosen. Next: give --rtsp, --http, --mqtt or --webhook.');
  }
  for (const [name, kind, url, passwords] of [
    ['--mqtt', 'mqtt', mqtt, '--mqtt-user and --mqtt-password-file'],
    ['--webhook', 'webhook', webhook, '--password-file'],
  ] as const) {
    const fault = url === undefined ? undefined : outputUrlFault(kind, url);
    if (fault === 'protocol') throw new UsageError(`${name} takes a URL that begins with ${URL_BEGINNINGS[kind]}.`);
    if (fault === 'password') {
      throw new UsageError(`${name} takes no password: other users can see it. Next: use ${passwords}.`);
    }
  }
  if (mqttCa === undefined) return;
  if (mqtt === undefined || !isOverTls(mqtt)) {
    throw new UsageError(
      '--mqtt-ca is for a broker over TLS. Next: give it with --mqtt mqtts://BROKER, or leave it out.',
    );
  }
  try {
    readAuthorities(mqttCa);
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(`--mqtt-ca: ${errorMessage(error)}`);
  }
}

function configOf({ rtsp, http, mqtt, mqttUser, mqttPasswordFile, mqttCa, ...options }: OutputsOptions): OutputsConfig {
  const { webhook, passwordFile, allowHost } = options;
  return {
    rtsp,
    http: http && { ...http, allowHosts: allowHost },
    mqtt:
      mqtt === undefined
        ? undefined
        : { url: mqtt, user: mqttUser, passwordFile: mqttPasswordFile, authorityFile: mqttCa },
    webhook: webhook === undefined ? undefined : { url: webhook },
    passwordFile,
  };
}

interface Parts {
  readonly camera: CameraClient;
  readonly say: Say;
  readonly signal: AbortSignal;
}

/** Tells the outputs what happens. */
class Running implements AsyncDisposable {
  readonly #runtime: Runtime;
  readonly #timeZone: string | undefined;
  readonly #parts: Parts;
  readonly #newest: NewestPicture;
  readonly #outputs: CameraOutputs;
  readonly #unsubscribe: () => void;
  #info: DeviceInfo;
  #readAt: number;
  #lastPictureAt: string | undefined;

  private constructor(
    runtime: Runtime,
    { cameraTimeZone }: OutputsOptions,
    parts: Parts,
    opened: { outputs: CameraOutputs; newest: NewestPicture; info: DeviceInfo },
  ) {
    this.#runtime = runtime;
    this.#timeZone = cameraTimeZone;
    this.#parts = parts;
    this.#newest = opened.newest;
    this.#outputs = opened.outputs;
    this.#info = opened.info;
    this.#readAt = runtime.clock.now();
    this.#unsubscribe = parts.camera.events.on('state', () => this.#publish());
    this.#publish();
  }

  static async open(runtime: Runtime, options: OutputsOptions, parts: Parts): Promise<Running> {
    const { camera, say, signal } = parts;
    const asked = camera.deviceInfo({ signal });
    const info = await withinTime(runtime, options.for, 'the camera to say what it is', asked);
    const newest = new NewestPicture({ client: camera });
    const components = {
      runtime,
      live: camera,
      newest,
      info,
      timeZone: options.cameraTimeZone,
      patient: false,
      onOpened: ({ text, ...fields }: { text: string }) => say('output', text, fields),
      onReceiver: ({ output, receiver, failure }: ReceiverState) => {
        const text = failure === undefined ? 'works again' : `failed: ${oneLine(failure.message)}`;
        const fields = { output, receiver, works: failure === undefined, message: failure?.message };
        say('receiver', `${receiverText(output, receiver)} ${text}`, fields);
      },
    };
    const opening = CameraOutputs.open(components, configOf(options), signal);
    const what = `the MQTT broker ${options.mqtt ?? ''} to accept the connection`;
    const outputs = await withinTime(runtime, options.for, what, opening);
    return new Running(runtime, options, parts, { outputs, newest, info });
  }

  /** Announces the items that were not announced before; at the first time of all, none. */
  async announce(items: readonly PictureEvent['item'][], signal: AbortSignal): Promise<void> {
    if (this.#outputs.isNew) await this.#outputs.begin(items);
    for (const item of items) {
      const takenAt = captureTime(item.mediaTime, this.#timeZone)?.iso;
      this.#lastPictureAt = takenAt ?? this.#lastPictureAt;
      if (this.#outputs.wasAnnounced(item)) continue;
      this.#parts.say('picture', itemName(item), { item });
      const wanted = this.#outputs.hasReceivers && item.fileType === FileType.photo;
      const jpeg = wanted ? await this.#quietly(() => this.#newest.fetch(item, signal), signal) : undefined;
      await this.#outputs.announce({ camera: this.#info.devId, item, takenAt, jpeg });
    }
    this.#publish();
  }

  /** Reads battery, temperature and card from time to time. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { clock } = this.#runtime;
    if (!this.#outputs.wantsReadings || clock.now() - this.#readAt < INFO_MS) return;
    this.#readAt = clock.now();
    this.#info = (await this.#quietly(() => this.#parts.camera.deviceInfo({ signal }), signal)) ?? this.#info;
    this.#publish();
  }

  /** Says what receivers have not taken yet. */
  tellWaiting(): void {
    for (const { output, receiver, waiting } of this.#outputs.waiting) {
      const text = `${counted(waiting, 'picture')} for ${receiverText(output, receiver)}: tried again when this command runs again`;
      this.#parts.say('left', text, { output, receiver, waiting });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    await this.#outputs[Symbol.asyncDispose]();
  }

  #publish(): void {
    const { path } = this.#parts.camera;
    const roundTripMs = path?.artemis.carrier.stats.rttMs;
    this.#outputs.update({
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

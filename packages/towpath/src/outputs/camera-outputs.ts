import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { DeviceInfo, MediaItem } from '@towpath/camera';
import {
  AnnouncedItems,
  type CameraReadings,
  Delivery,
  type Deliver,
  EventQueue,
  exportFile,
  HttpOutputs,
  type HttpOutputsComponents,
  type LiveSource,
  MqttOutput,
  type PictureEvent,
  RtspServer,
  topicId,
  Webhook,
} from '@towpath/camera/outputs';
import { SystemRandom } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { Runtime } from '../cli/runtime.ts';
import { readSecret } from '../config/secret-file.ts';
import { type OutputsPassword, outputsPassword } from './outputs-password.ts';
import { runForPicture } from './run-for-picture.ts';

/** What a camera's pictures and video are handed on to; what is undefined is off. */
export interface OutputsConfig {
  readonly rtsp?: Endpoint | undefined;
  readonly http?: (Endpoint & { readonly allowHosts?: readonly string[] | undefined }) | undefined;
  readonly mqtt?:
    | {
        readonly url: string;
        readonly user?: string | undefined;
        readonly passwordFile?: string | undefined;
        /** Home Assistant's discovery prefix. */
        readonly prefix?: string | undefined;
      }
    | undefined;
  /** Signed with the key of `keyFile`, else with the password of the outputs. */
  readonly webhook?: { readonly url: string; readonly keyFile?: string | undefined } | undefined;
  /** Program to run for each picture, with its path. */
  readonly exec?: string | undefined;
  /** Folder for copies with EXIF. */
  readonly export?: { readonly folder: string } | undefined;
  /** Password of RTSP and HTTP. */
  readonly passwordFile?: string | undefined;
}

export interface OutputsComponents {
  readonly runtime: Pick<Runtime, 'clock' | 'random' | 'network' | 'log' | 'configFolder'>;
  readonly live: LiveSource;
  readonly newest: HttpOutputsComponents['newest'];
  readonly info: DeviceInfo;
  readonly timeZone: string | undefined;
  /** Name of the camera for people. @default what it calls itself */
  readonly name?: string | undefined;
  /** Begin although the broker is not reached yet. */
  readonly patient: boolean;
  /** Called for each output that was opened. */
  onOpened(opened: { output: string; text: string; url?: string; endpoint?: Endpoint; user?: string }): void;
}

/** Name of those who watch by RTSP and HTTP. */
const USER = 'towpath';

/** The outputs of one camera. Pictures that receivers are to be told of wait on disk until they have taken them. */
export class CameraOutputs implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #components: OutputsComponents;
  readonly #announced: AnnouncedItems;
  readonly #receivers: ((event: PictureEvent) => Promise<void>)[] = [];
  #broker: MqttOutput | undefined;

  private constructor(components: OutputsComponents, announced: AnnouncedItems) {
    this.#components = components;
    this.#announced = announced;
  }

  /**
   * Opens every output that is configured.
   * @throws TowpathError `address-in-use`, `network-failed`, `mqtt-failed`, `file-unreadable`; UsageError for a file with a
   *   secret that others can read; CameraError `permission-denied`, `disk-full`, `disk-failed`; the signal's reason. Nothing
   *   is open then.
   */
  static async open(
    components: OutputsComponents,
    config: OutputsConfig,
    signal?: AbortSignal,
  ): Promise<CameraOutputs> {
    const { runtime, info } = components;
    const folder = outputsFolder(runtime, info.devId);
    const outputs = new CameraOutputs(components, await AnnouncedItems.open(join(folder, 'announced')));
    try {
      await outputs.#open(config, folder, signal);
      return outputs;
    } catch (error) {
      await outputs[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** True until {@link begin}: it is not known which pictures are new. */
  get isNew(): boolean {
    return this.#announced.isNew;
  }

  /** Whether anybody is told of pictures. */
  get hasReceivers(): boolean {
    return this.#receivers.length > 0;
  }

  /** Whether anybody wants {@link update}. */
  get wantsReadings(): boolean {
    return this.#broker !== undefined;
  }

  /** Begins with what there is, which nobody is told of. @throws CameraError `disk-full`, `permission-denied`, `disk-failed` */
  begin(items: Iterable<MediaItem>): Promise<void> {
    return this.#announced.begin(items);
  }

  wasAnnounced(item: MediaItem): boolean {
    return this.#announced.has(item);
  }

  /**
   * Tells everybody of a picture. When this resolves the event is on disk for each receiver.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  async announce(event: PictureEvent): Promise<void> {
    for (const receive of this.#receivers) await receive(event);
    await this.#announced.add(event.item);
  }

  /** Publishes values; only the newest counts. */
  update(readings: CameraReadings): void {
    this.#broker?.update(readings);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #open(config: OutputsConfig, folder: string, signal: AbortSignal | undefined): Promise<void> {
    const { rtsp, http, mqtt, webhook, exec, passwordFile } = config;
    const { runtime, onOpened } = this.#components;
    const needsPassword =
      rtsp !== undefined || http !== undefined || (webhook !== undefined && webhook.keyFile === undefined);
    const secret = needsPassword ? outputsPassword(runtime, passwordFile) : undefined;
    if (secret !== undefined) await this.#openServers(config, secret);
    if (mqtt !== undefined) {
      this.#broker = await this.#openBroker(mqtt, await this.#queue(folder, 'mqtt', mqtt.url), signal);
      onOpened({ output: 'mqtt', text: `${mqtt.url} with discovery for Home Assistant`, url: mqtt.url });
    }
    if (webhook !== undefined) {
      const { url, keyFile } = webhook;
      const key = keyFile === undefined ? (secret?.password ?? '') : readSecret(keyFile);
      const queue = await this.#queue(folder, 'webhook', url);
      const hook = this.#stack.use(new Webhook({ ...runtime, queue }, { url, secret: key }));
      this.#receivers.push((event) => hook.picture(event));
      onOpened({ output: 'webhook', text: `${url} for each new picture`, url });
    }
    if (exec !== undefined) {
      await this.#deliver(folder, 'exec', exec, (event, until) => this.#run(exec, event, until));
      onOpened({ output: 'exec', text: `${exec} for each new picture` });
    }
    if (config.export !== undefined) {
      const to = config.export.folder;
      await this.#deliver(folder, 'export', to, (event) => this.#export(to, event));
      onOpened({ output: 'export', text: `copies in ${to}` });
    }
  }

  async #openServers({ rtsp, http }: OutputsConfig, { password, file }: OutputsPassword): Promise<void> {
    const { runtime, live, newest } = this.#components;
    const listens = (output: string, url: string, endpoint: Endpoint) =>
      this.#components.onOpened({
        output,
        text: `${url} user ${USER}, password in ${file}`,
        url,
        endpoint,
        user: USER,
      });
    if (rtsp !== undefined) {
      const user = { name: USER, password };
      const components = { ...runtime, random: new SystemRandom(), source: live };
      const server = this.#stack.use(await RtspServer.listen(components, { ...rtsp, user }));
      listens('rtsp', `rtsp://${formatEndpoint(server.local)}/live`, server.local);
    }
    if (http !== undefined) {
      const { allowHosts, ...endpoint } = http;
      const access = { user: USER, password, ...(allowHosts !== undefined && { allowHosts }) };
      const components = { ...runtime, source: live, newest };
      const server = this.#stack.use(await HttpOutputs.listen(components, { ...endpoint, ...access }));
      listens('http', `http://${formatEndpoint(server.local)}/snapshot.jpg`, server.local);
    }
  }

  async #openBroker(
    { url, user, passwordFile, prefix }: NonNullable<OutputsConfig['mqtt']>,
    queue: EventQueue,
    signal: AbortSignal | undefined,
  ): Promise<MqttOutput> {
    const { runtime, info, name, patient } = this.#components;
    const broker = await MqttOutput.connect(
      { ...runtime, queue },
      {
        url,
        info,
        name,
        patient,
        discoveryPrefix: prefix,
        ...(user !== undefined && { username: user }),
        ...(passwordFile !== undefined && { password: readSecret(passwordFile) }),
      },
      signal,
    );
    this.#stack.use(broker);
    this.#receivers.push((event) => broker.picture(event));
    return broker;
  }

  async #deliver(folder: string, kind: string, receiver: string, deliver: Deliver): Promise<void> {
    const { runtime } = this.#components;
    const queue = await this.#queue(folder, kind, receiver);
    this.#stack.use(new Delivery({ ...runtime, queue }, deliver));
    this.#receivers.push((event) => queue.put(event));
  }

  /** What waits for one receiver: another URL is another receiver. */
  #queue(folder: string, kind: string, receiver: string): Promise<EventQueue> {
    const name = `${kind}-${createHash('sha256').update(receiver).digest('hex').slice(0, 16)}`;
    return EventQueue.open(this.#components.runtime, { folder: join(folder, name) });
  }

  async #run(command: string, { file }: PictureEvent, signal: AbortSignal): Promise<undefined> {
    if (file === undefined) return;
    const failure = await runForPicture(command, file, signal);
    // It has been run: another run would not be what it expects.
    if (failure !== undefined) this.#components.runtime.log.warn(failure.message, failure.fields);
  }

  async #export(to: string, { file, item }: PictureEvent): Promise<undefined> {
    const { info, name, timeZone } = this.#components;
    if (file === undefined) return;
    await exportFile({ from: file, to, item, camera: name ?? info.devId, serial: info.devId, timeZone });
  }
}

/** Where the events of one camera wait, and which of its pictures were told of. */
export function outputsFolder({ configFolder }: Pick<Runtime, 'configFolder'>, deviceId: string): string {
  return join(configFolder, 'outputs', topicId(deviceId));
}

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
  type ReceiverFailure,
  ReceiverHealth,
  type Refusal,
  RtspServer,
  Webhook,
} from '@towpath/camera/outputs';
import { Mutex, SystemRandom } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { Runtime } from '../cli/runtime.ts';
import { readAuthorities, readSecret } from '../config/secret-file.ts';
import { dropOthersThan, lockOutputs, outputsFolder } from './outputs-folder.ts';
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
        /** PEM of the authority that signed the broker's certificate, if the system does not trust it. */
        readonly authorityFile?: string | undefined;
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
  /** Called when a receiver begins to fail, fails with another error, or works again. */
  onReceiver(state: ReceiverState): void;
}

/** Outputs that are told of each picture. */
export type ReceiverKind = 'mqtt' | 'webhook' | 'exec' | 'export';

/** How a receiver does. */
export interface ReceiverState {
  readonly output: ReceiverKind;
  /** For people: a URL without its path, a command, a folder. */
  readonly receiver: string;
  /** Undefined while it takes pictures. */
  readonly failure: ReceiverFailure | undefined;
}

/** A receiver that does not take pictures. */
export interface OutputFailure extends ReceiverFailure {
  readonly output: ReceiverKind;
  /** For people: a URL without its path, a command, a folder. */
  readonly receiver: string;
  /** Pictures that wait for it. */
  readonly waiting: number;
}

interface Receiver {
  /** Of the folder in which its pictures wait. */
  readonly name: string;
  readonly output: ReceiverKind;
  readonly receiver: string;
  readonly queue: EventQueue;
  readonly health: ReceiverHealth;
}

/** A command may take a while with a picture, ms. */
const EXEC_ANSWER_MS = 10 * 60_000;

/** Name of those who watch by RTSP and HTTP. */
const USER = 'towpath';

/** The outputs of one camera. Pictures that receivers are to be told of wait on disk until they have taken them. */
export class CameraOutputs implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #components: OutputsComponents;
  readonly #announced: AnnouncedItems;
  readonly #receivers: Receiver[] = [];
  readonly #announcing = new Mutex();
  #isClosed = false;
  #broker: MqttOutput | undefined;

  private constructor(
    components: OutputsComponents,
    { announced, stack }: { announced: AnnouncedItems; stack: AsyncDisposableStack },
  ) {
    this.#stack = stack;
    this.#components = components;
    this.#announced = announced;
  }

  /**
   * Opens every output that is configured.
   * @throws TowpathError `already-running` when another process has the outputs of the device; `address-in-use`, `network-failed`, `mqtt-failed`, `file-unreadable`; UsageError for a file with a
   *   secret that others can read, or without certificates; CameraError `permission-denied`, `disk-full`, `disk-failed`; the signal's reason. Nothing
   *   is open then.
   */
  static async open(
    components: OutputsComponents,
    config: OutputsConfig,
    signal?: AbortSignal,
  ): Promise<CameraOutputs> {
    const { runtime, info } = components;
    const folder = outputsFolder(runtime, info.devId);
    // Released last, when nothing of this process is written any more.
    const stack = new AsyncDisposableStack();
    try {
      stack.use(lockOutputs(runtime, info.devId));
      const announced = await AnnouncedItems.open(join(folder, 'announced'));
      const outputs = new CameraOutputs(components, { announced, stack });
      await outputs.#open(config, folder, signal);
      return outputs;
    } catch (error) {
      await stack.disposeAsync();
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

  /** The receivers that fail now. */
  get failures(): OutputFailure[] {
    return this.#receivers.flatMap(({ output, receiver, queue, health: { failure } }) =>
      failure === undefined ? [] : [{ ...failure, output, receiver, waiting: queue.size }],
    );
  }

  /** The receivers that pictures wait for. */
  get waiting(): { output: ReceiverKind; receiver: string; waiting: number }[] {
    return this.#receivers.flatMap(({ output, receiver, queue }) =>
      queue.size === 0 ? [] : [{ output, receiver, waiting: queue.size }],
    );
  }

  /** Whether anybody wants {@link update}. */
  get wantsReadings(): boolean {
    return this.#broker !== undefined;
  }

  /** Begins with what there is, which nobody is told of. @throws CameraError `disk-full`, `permission-denied`, `disk-failed` */
  begin(items: Iterable<MediaItem>): Promise<void> {
    return this.#announced.begin(items);
  }

  /** Drops what waits for receivers that are not among these. @throws the system's error */
  async dropOthers(): Promise<void> {
    const { runtime, info } = this.#components;
    await dropOthersThan(runtime, info.devId, new Set(this.#receivers.map(({ name }) => name)));
  }

  wasAnnounced(item: MediaItem): boolean {
    return this.#announced.has(item);
  }

  /**
   * Tells everybody of a picture. When this resolves the event is on disk for each receiver, unless the outputs are closed:
   * then nobody is told, nor is it noted as told.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  async announce(event: PictureEvent): Promise<void> {
    using _turn = await this.#announcing.acquire();
    if (this.#isClosed) return;
    for (const { queue } of this.#receivers) await queue.put(event);
    await this.#announced.add(event.item);
  }

  /** Publishes values; only the newest counts. */
  update(readings: CameraReadings): void {
    this.#broker?.update(readings);
  }

  /** Afterwards nothing is written any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    using _turn = await this.#announcing.acquire();
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
      this.#broker = await this.#openBroker(mqtt, await this.#receiver(folder, 'mqtt', mqtt.url), signal);
      onOpened({ output: 'mqtt', text: `${mqtt.url} with discovery for Home Assistant`, url: mqtt.url });
    }
    if (webhook !== undefined) {
      const { url, keyFile } = webhook;
      const key = keyFile === undefined ? (secret?.password ?? '') : readSecret(keyFile);
      // The path may be a secret.
      const receiver = await this.#receiver(folder, 'webhook', url, new URL(url).origin);
      this.#stack.use(new Webhook({ ...runtime, ...receiver }, { url, secret: key }));
      onOpened({ output: 'webhook', text: `${url} for each new picture`, url });
    }
    if (exec !== undefined) {
      const receiver = await this.#receiver(folder, 'exec', exec);
      this.#deliver(receiver, (event, until) => this.#run(exec, event, until), EXEC_ANSWER_MS);
      onOpened({ output: 'exec', text: `${exec} for each new picture` });
    }
    if (config.export !== undefined) {
      const to = config.export.folder;
      this.#deliver(await this.#receiver(folder, 'export', to), (event) => this.#export(to, event));
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
    { url, user, passwordFile, authorityFile, prefix }: NonNullable<OutputsConfig['mqtt']>,
    { queue, health }: Receiver,
    signal: AbortSignal | undefined,
  ): Promise<MqttOutput> {
    const { runtime, info, name, patient } = this.#components;
    const broker = await MqttOutput.connect(
      { ...runtime, queue, health },
      {
        url,
        info,
        name,
        patient,
        discoveryPrefix: prefix,
        ...(user !== undefined && { username: user }),
        ...(passwordFile !== undefined && { password: readSecret(passwordFile) }),
        ...(authorityFile !== undefined && { authorities: readAuthorities(authorityFile) }),
      },
      signal,
    );
    this.#stack.use(broker);
    return broker;
  }

  #deliver({ output, queue, health }: Receiver, deliver: Deliver, answerMs?: number): void {
    const { runtime } = this.#components;
    const components = { ...runtime, log: runtime.log.child(output.toUpperCase()), queue, health };
    this.#stack.use(new Delivery(components, deliver, answerMs === undefined ? {} : { answerMs }));
  }

  /** Opens what waits for one receiver: another URL is another receiver. */
  async #receiver(folder: string, output: ReceiverKind, address: string, receiver = address): Promise<Receiver> {
    const { runtime, onReceiver } = this.#components;
    const name = `${output}-${createHash('sha256').update(address).digest('hex').slice(0, 16)}`;
    const queue = await EventQueue.open(runtime, { folder: join(folder, name) });
    const health = new ReceiverHealth(
      { clock: runtime.clock, log: runtime.log.child(output.toUpperCase()) },
      // The client of the broker tries every two seconds.
      {
        repeated: output === 'mqtt' ? 'debug' : 'info',
        onChanged: (failure) => onReceiver({ output, receiver, failure }),
      },
    );
    const opened = { name, output, receiver, queue, health };
    this.#receivers.push(opened);
    return opened;
  }

  async #run(command: string, { file }: PictureEvent, signal: AbortSignal): Promise<Refusal | undefined> {
    if (file === undefined) return undefined;
    const failure = await runForPicture(command, file, signal);
    // It has been run: another run would not be what it expects.
    return failure && { message: failure.message, again: false };
  }

  async #export(to: string, { file, item }: PictureEvent): Promise<undefined> {
    const { info, name, timeZone } = this.#components;
    if (file === undefined) return;
    await exportFile({ from: file, to, item, camera: name ?? info.devId, serial: info.devId, timeZone });
  }
}

/** Names a receiver for people. */
export function receiverText(output: ReceiverKind, receiver: string): string {
  const kinds = { mqtt: 'MQTT broker', webhook: 'webhook', exec: 'command', export: 'export to' } as const;
  return `${kinds[output]} ${receiver}`;
}

import { type DeviceInfo, captureTime } from '@towpath/camera';
import type { CameraReadings, LiveSource } from '@towpath/camera/outputs';
import { backoff, errorCode, errorMessage, Mutex, readRegular, type Timer } from '@towpath/core';
import type { OutputProblem, Problem } from '@towpath/dashboard/api';
import type { Runtime } from '../../cli/runtime.ts';
import { counted } from '../../cli/table.ts';
import { CameraOutputs, type OutputFailure, type OutputsConfig, receiverText } from '../../outputs/camera-outputs.ts';
import { dropWaiting } from '../../outputs/outputs-folder.ts';
import type { HeldDevices } from './held-devices.ts';
import type { MediaCatalog } from './media-catalog.ts';

export interface HeldOutputsComponents {
  readonly runtime: Runtime;
  readonly live: LiveSource;
  readonly catalog: MediaCatalog;
  readonly devices: HeldDevices;
  /** Of the camera's entry, for people. */
  readonly name: string;
  readonly timeZone: string | undefined;
  /** Called when a problem has changed. */
  changed(): void;
}

/** Pauses before what could not be opened is tried again, ms: the daemon that was replaced may have its ports for a moment. */
const PAUSES = { baseMs: 1_000, maxMs: 60_000 } as const;

/** The outputs of a held camera, from the moment when it is known which camera it is. */
export class HeldOutputs implements AsyncDisposable {
  readonly config: OutputsConfig | undefined;
  readonly #components: HeldOutputsComponents;
  readonly #opening = new Mutex();
  readonly #closing = new AbortController();
  #outputs: CameraOutputs | undefined;
  #info: DeviceInfo | undefined;
  #readings: CameraReadings | undefined;
  #problem: Problem | undefined;
  readonly #pauses: Iterator<number, void>;
  #again: Timer | undefined;

  constructor(components: HeldOutputsComponents, config: OutputsConfig | undefined) {
    this.#components = components;
    this.#pauses = backoff({ ...PAUSES, random: components.runtime.random });
    this.config = config;
  }

  /** Why they are not open. */
  get problem(): Problem | undefined {
    return this.#problem;
  }

  /** The receivers that do not take pictures. */
  get receiverProblems(): OutputProblem[] {
    return (this.#outputs?.failures ?? []).map((failure) => describe(this.#components.name, failure));
  }

  /**
   * Takes what the camera says of itself, and opens the outputs when they are not, unless another entry has the device. Never
   * throws.
   */
  async identify(info: DeviceInfo): Promise<void> {
    const isOther = this.#info !== undefined && this.#info.devId !== info.devId;
    this.#info = info;
    if (isOther) await this.#close();
    if (this.#outputs === undefined) await this.#open();
  }

  /** Publishes values. */
  update(readings: Omit<CameraReadings, 'info'>): void {
    if (this.#info === undefined) return;
    this.#readings = { ...readings, info: this.#info };
    this.#outputs?.update(this.#readings);
  }

  /** At the first time of all, notes what is on the card and here as known: nobody is told of it. */
  async begin(): Promise<void> {
    const outputs = this.#outputs;
    if (outputs?.isNew) await outputs.begin(this.#components.catalog.known());
  }

  /**
   * Tells of the files that are here and were not told of.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  async tellNew(): Promise<void> {
    const outputs = this.#outputs;
    const camera = this.#info?.devId;
    if (outputs === undefined || outputs.isNew || camera === undefined) return;
    const { catalog, timeZone } = this.#components;
    for (const { item, file } of catalog.filesOldestFirst()) {
      if (outputs.wasAnnounced(item)) continue;
      const takenAt = captureTime(item.mediaTime, timeZone)?.iso;
      await outputs.announce({ camera, item, takenAt, jpeg: undefined, file });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#again?.cancel();
    await this.#close();
  }

  /** Drops what waits for receivers, which are no longer configured, unless it is another entry's. Never throws. */
  async forget(): Promise<void> {
    const { runtime, devices, name } = this.#components;
    const deviceId = this.#info?.devId;
    if (deviceId !== undefined && devices.has(deviceId, name)) await this.#drop(dropWaiting(runtime, deviceId));
  }

  async #close(): Promise<void> {
    using _turn = await this.#opening.acquire();
    await this.#outputs?.[Symbol.asyncDispose]();
    this.#outputs = undefined;
    this.#readings = undefined;
  }

  async #drop(dropping: Promise<void>): Promise<void> {
    const { runtime, name } = this.#components;
    await dropping.catch((error: unknown) => {
      runtime.log.warn(`${name}: what waits for outputs of before was not removed: ${errorMessage(error)}`);
    });
  }

  async #open(): Promise<void> {
    const { config } = this;
    const { runtime, live, catalog, devices, name, timeZone, changed } = this.#components;
    using _turn = await this.#opening.acquire();
    const { signal } = this.#closing;
    const info = this.#info;
    if (info === undefined || this.#outputs !== undefined || signal.aborted) return;
    const holder = devices.claim(info.devId, name, () => void this.#open());
    if (holder !== undefined) {
      const same = `${holder} and ${name} are the same device (${info.devId}), and ${holder} had it first`;
      this.#failed('same-device', `${same}. Next: towpath camera remove ${name} (or ${holder}, to keep ${name})`);
      return;
    }
    if (config === undefined) {
      if (this.#problem === undefined) return;
      this.#problem = undefined;
      changed();
      return;
    }
    const newest = { read: () => newestPhoto(catalog) };
    const onOpened = ({ text }: { text: string }) => runtime.log.info(`${name}: ${text}`);
    try {
      const events = { onOpened, onReceiver: changed };
      const components = { runtime, live, newest, info, timeZone, name, patient: true, ...events };
      this.#outputs = await CameraOutputs.open(components, config, signal);
      if (this.#readings !== undefined) this.#outputs.update(this.#readings);
      await this.#drop(this.#outputs.dropOthers());
      if (this.#problem === undefined) return;
      this.#problem = undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.#again?.cancel();
      const pauseMs = this.#pauses.next().value ?? PAUSES.maxMs;
      this.#again = runtime.clock.timer(pauseMs, () => void this.#open());
      this.#failed(errorCode(error), errorMessage(error));
      return;
    }
    changed();
  }

  #failed(code: string, message: string): void {
    const { runtime, name, changed } = this.#components;
    if (message !== this.#problem?.message) runtime.log.warn(`${name}: ${message}`, { code });
    this.#problem = { code, message, at: new Date(runtime.clock.wallTime()).toISOString() };
    changed();
  }
}

function describe(name: string, { output, receiver, message, sinceMs, waiting }: OutputFailure): OutputProblem {
  const waits = waiting === 0 ? '' : ` ${counted(waiting, 'picture')} wait${waiting === 1 ? 's' : ''}.`;
  return {
    code: 'output-failed',
    message: `${name}: ${receiverText(output, receiver)} failed: ${message.replace(/\.$/, '')}.${waits}`,
    at: new Date(sinceMs).toISOString(),
    output,
    waiting,
  };
}

async function newestPhoto(catalog: MediaCatalog): Promise<Uint8Array | undefined> {
  const path = catalog.newestPhoto();
  return path === undefined ? undefined : await readRegular(path);
}

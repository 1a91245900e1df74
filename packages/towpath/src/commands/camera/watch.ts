import { join } from 'node:path';
import {
  type CameraClient,
  CameraError,
  type CameraEvent,
  downloadMedia,
  type MediaItem,
  MediaLibrary,
  watchChecks,
} from '@towpath/camera';
import { isAbort, TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted, formatMs } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { lockPictures } from '../../config/pictures-lock.ts';
import { runForPicture } from '../../outputs/run-for-picture.ts';
import { stateText } from './connect-line.ts';
import { cameraTime } from './info.ts';
import type { JoinOptions, WakeOptions } from './hotspot.ts';
import { itemName, lostText, unreadableText } from './media.ts';
import { cameraRuntime, contestedText, openCamera, type RaceWatch, type TargetOptions } from './target.ts';
import { timeLimit } from './time-limit.ts';
import { printJson } from '../../cli/json-output.ts';

export interface WatchOptions extends TargetOptions, WakeOptions, JoinOptions {
  /** Wake the camera for each check, and let it sleep in between. */
  wake?: boolean;
  /** Folder for new pictures. */
  output?: string;
  /** Seconds. */
  every: number;
  /** Seconds. */
  for?: number;
  /** Program to run for each saved picture. */
  exec?: string;
  cameraTimeZone?: string;
}

/** Keeps the link until Ctrl-C or until the time is up. */
export async function watch(runtime: Runtime, host: string, options: WatchOptions): Promise<void> {
  checkOptions(options);
  const { clock, log } = runtime;
  const say = speaker(runtime, options.json ?? false);
  await using camera = openCamera(cameraRuntime(runtime), host, options, raceTeller(say));
  tell(camera, say);
  await camera.connectWithRetries({ signal: runtime.signal });
  using limit = timeLimit(runtime, options.for);
  const { signal } = limit;
  using _lock = options.output === undefined ? undefined : lockPictures(options.output);
  await using folder = await WatchedFolder.open({ runtime, camera, signal, say }, options);
  const everyMs = options.every * 1_000;
  say('waiting', waitingText(everyMs, options), { everyMs, output: options.output ?? null });
  let first = true;
  let notReadable = 0;
  try {
    const checks = watchChecks({ client: camera, clock, log, everyMs, signal });
    for await (const { items, unreadable } of checks) {
      if (unreadable > 0) say('warning', unreadableText(unreadable), { unreadable });
      notReadable = Math.max(notReadable, unreadable);
      const fresh = folder?.news(items, first) ?? (first ? [] : items);
      for (const item of fresh) say('picture', `${itemName(item)} taken ${cameraTime(item.mediaTime)}`, { item });
      await folder?.fetch(fresh);
      first = false;
    }
  } catch (error) {
    if (!isAbort(error) || runtime.signal.aborted) throw error;
  }
  checkComplete({ ...(folder?.shortfall ?? NOTHING_MISSING), unreadable: notReadable });
}

/** What a watch could not fetch. */
export interface Shortfall {
  /** Items that were not downloaded. */
  readonly pending: number;
  /** Videos that were saved without some of their frames. */
  readonly damaged: number;
  /** Entries of the card's list that could not be read. */
  readonly unreadable: number;
  /** The full disk that the last check met. */
  readonly disk?: CameraError | undefined;
}

export const NOTHING_MISSING: Shortfall = { pending: 0, damaged: 0, unreadable: 0 };

/** @throws TowpathError `disk-full` while the disk is full, `items-failed` when anything else is missing */
export function checkComplete({ pending, damaged, unreadable, disk }: Shortfall): void {
  if (disk !== undefined) throw new TowpathError('disk-full', fullText(pending, disk), { kind: 'local', cause: disk });
  const missing: string[] = [];
  if (pending > 0) missing.push(`not downloaded: ${counted(pending, 'picture')}`);
  if (damaged > 0) missing.push(`saved without some frames: ${counted(damaged, 'video')}`);
  if (unreadable > 0) missing.push(unreadableText(unreadable));
  if (missing.length > 0) throw new TowpathError('items-failed', `${missing.join('; ')}. Next: run it again.`);
}

function fullText(pending: number, { message }: CameraError): string {
  return `${pending > 0 ? `not downloaded: ${counted(pending, 'picture')}; ` : ''}${message}`;
}

/** @throws UsageError */
function checkOptions({ exec, output }: WatchOptions): void {
  if (exec === undefined || output !== undefined) return;
  throw new UsageError('--exec runs for downloaded files. Next: add --output FOLDER.');
}

function waitingText(everyMs: number, { output, for: seconds }: WatchOptions): string {
  const what = output === undefined ? 'they are named; -o FOLDER downloads them' : `they are downloaded to ${output}`;
  const end = seconds === undefined ? 'Ctrl-C ends it.' : `It ends after ${formatMs(seconds * 1_000)}.`;
  return `for new pictures, looking every ${formatMs(everyMs)}; ${what}. ${end}`;
}

export interface WatchComponents {
  runtime: Runtime;
  camera: CameraClient;
  signal: AbortSignal;
  say: Say;
}

/** The folder of `--output`: gets what it lacks since it was first used, including what appeared while no watch ran. */
export class WatchedFolder implements AsyncDisposable {
  readonly #components: WatchComponents;
  readonly #library: MediaLibrary;
  readonly #exec: string | undefined;
  /** Items that could not be downloaded so far; each check tries them again. */
  #pending: readonly MediaItem[] = [];
  #damaged = 0;
  #disk: CameraError | undefined;
  /** Whether the index is on disk: without it the next watch would begin anew, and pass over what is on the card by then. */
  #hasIndex: boolean;

  private constructor(components: WatchComponents, library: MediaLibrary, exec: string | undefined) {
    this.#components = components;
    this.#library = library;
    this.#exec = exec;
    this.#hasIndex = !library.isNew;
  }

  /** @returns undefined without a folder. Throws as `MediaLibrary.open`. */
  static async open(components: WatchComponents, options: WatchOptions): Promise<WatchedFolder | undefined> {
    if (options.output === undefined) return undefined;
    const { clock, log } = components.runtime;
    const library = await MediaLibrary.open(
      { clock, log },
      { folder: options.output, timeZone: options.cameraTimeZone },
    );
    return new WatchedFolder(components, library, options.exec);
  }

  /** What is known and not here, so far. */
  get shortfall(): Shortfall {
    return { pending: this.#pending.length, damaged: this.#damaged, unreadable: 0, disk: this.#disk };
  }

  /** Returns the items of a check that the folder lacks. A new folder starts with what appears after its first check. */
  news(items: readonly MediaItem[], first: boolean): readonly MediaItem[] {
    const library = this.#library;
    if (first && library.isNew) library.setBaseline(items);
    return items.filter((item) => !library.knows(item) && !library.isBaseline(item) && !library.isEmpty(item));
  }

  /**
   * Downloads new items, and those that failed before. What a full disk does not take waits for the next check. Throws as
   * `downloadMedia`, and `disk-full` in a new folder.
   */
  async fetch(items: readonly MediaItem[]): Promise<void> {
    const wanted = [...this.#pending, ...items];
    const saved: string[] = [];
    try {
      await this.#download(wanted, saved);
      this.#hasIndex = true;
      this.#disk = undefined;
    } catch (error) {
      if (!isDiskFull(error) || !this.#hasIndex) throw error;
      const library = this.#library;
      // Its file is complete, and only the index was not written.
      for (const item of wanted.filter((one) => library.knows(one))) {
        const path = join(library.folder, library.entry(item)?.file ?? '');
        if (saved.includes(path)) continue;
        saved.push(path);
        this.#components.say('saved', path, { path, item });
      }
      this.#pending = wanted.filter((item) => !library.knows(item) && !library.isEmpty(item));
      this.#sayFull(error);
    }
    for (const path of saved) await this.#run(path);
  }

  async #download(among: readonly MediaItem[], saved: string[]): Promise<void> {
    const { runtime, camera, signal, say } = this.#components;
    if (among.length === 0) {
      await this.#library.flush();
      return;
    }
    const { failed } = await downloadMedia({
      client: camera,
      library: this.#library,
      clock: runtime.clock,
      among,
      signal,
      onEvent: (event) => {
        if (event.type === 'saved') {
          saved.push(event.path);
          const { path, item, lostFrames } = event;
          say('saved', path, { path, item, ...(lostFrames && { lostFrames }) });
          if (!lostFrames) return;
          this.#damaged++;
          say('warning', lostText(item, lostFrames), { item, lostFrames });
        } else if (event.type === 'failed') {
          const { code, message } = event.error;
          say('failed', oneLine(message), { item: event.item, code, message });
        }
      },
    });
    this.#pending = failed.filter(({ error }) => error.code !== 'item-empty').map(({ item }) => item);
  }

  #sayFull(error: CameraError): void {
    this.#disk = error;
    const { code, message } = error;
    const pending = this.#pending.map(itemName);
    this.#components.say('failed', oneLine(fullText(pending.length, error)), { code, message, pending });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#library.flush();
    } catch (error) {
      // Files without an entry are recognised when they are downloaded again.
      if (!isDiskFull(error)) throw error;
      if (this.#disk === undefined) this.#sayFull(error);
    }
  }

  async #run(path: string): Promise<void> {
    const { signal, say } = this.#components;
    if (this.#exec === undefined) return;
    const failure = await runForPicture(this.#exec, path, signal);
    if (failure !== undefined) say('exec', failure.message, { path, ...failure.fields });
  }
}

function isDiskFull(error: unknown): error is CameraError {
  return error instanceof CameraError && error.code === 'disk-full';
}

/** Prints one event: its kind, its text, and its fields for `--json`. */
export type Say = (type: string, text: string, fields?: object) => void;

export function speaker({ io, clock }: Runtime, json: boolean): Say {
  const startedAt = clock.now();
  return (type, text, fields = {}) => {
    if (json) printJson(io, type, { atMs: Math.round(clock.now() - startedAt), ...fields });
    else io.out(`${io.style('dim', new Date(clock.wallTime()).toTimeString().slice(0, 8))} ${type.padEnd(9)} ${text}`);
  };
}

/** Says what a race has found out that a person should know. */
export function raceTeller(say: Say): RaceWatch {
  return {
    onContested(contest) {
      const message = contestedText(contest);
      say('warning', message, { message, ...contest });
    },
  };
}

export function tell(camera: CameraClient, say: Say): void {
  camera.events.on('state', ({ state, previous }) => say('state', stateText(state), { state, previous }));
  camera.events.on('event', (event) => say('event', eventText(event), { event: event.fields }));
  camera.events.on('lost', ({ code, message }) => say('lost', message, { code, message }));
  camera.events.on('tryFailed', ({ error, tries, nextMs }) => {
    const next = nextMs === undefined ? 'no further attempt' : `next in ${formatMs(nextMs)}`;
    say('try', `${tries} failed: ${error.message} (${next})`, { tries, nextMs: nextMs ?? null, code: error.code });
  });
}

/** The meaning of no event is known: docs/protocol/artemis.md, "Events". Its fields are shown as a person reads them. */
function eventText({ evtId, fields }: CameraEvent): string {
  const rest = Object.entries(fields).filter(([name]) => name !== 'evtId');
  const more = rest.map(([name, value]) => `, ${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return oneLine(`${evtId}${more.join('')} (its meaning is not known)`);
}

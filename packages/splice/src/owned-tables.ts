import {
  backoff,
  type Clock,
  errorCode,
  errorMessage,
  Events,
  type Log,
  type Random,
  silentLog,
  type Timer,
} from '@towpath/core';
import {
  addElements,
  addObject,
  type Change,
  commandsOf,
  type ElementChange,
  type MapRef,
  type ObjectChange,
} from './nft-commands.ts';
import { type MapElement, parseChains, parseElements } from './nft-output.ts';
import { isGone, NftProcess } from './nft-process.ts';
import { SpliceError } from './splice-error.ts';
import type { System } from './system.ts';
import { name } from './values.ts';

export interface TablesComponents {
  system: System;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

/** What the tables consist of, apart from elements. */
export interface TablesDefinition {
  readonly families: readonly MapRef['family'][];
  /** Commands that add maps, chains and rules to `table`, for one family. */
  commands(family: MapRef['family'], table: string): readonly string[];
  /** Base chains, whose presence is watched: `devices` must be among those that the kernel reports. */
  chains(family: MapRef['family']): readonly { chain: string; devices?: readonly string[] }[];
  /**
   * Returns the definition for tables that take the place of these.
   * @param there these are still there
   * @default the same
   */
  renewed?(there: boolean): Promise<TablesDefinition>;
}

export interface TablesOptions {
  /** How the tables' names start. */
  prefix: string;
  /** Tells the tables of several processes apart: lower-case letters and digits. */
  instance: string;
  /** How long nft may take for one batch, ms. @default 5000 */
  batchTimeoutMs?: number;
  /** How often the tables' presence is checked, ms. @default 700 */
  watchIntervalMs?: number;
  /** The process is replaced, without a gap, after so much input, which it keeps in memory. @default 33554432 */
  maxInputBytes?: number;
}

export interface TablesEvents {
  /** The tables were made again and hold every element. `gapMs`: how long they were missing, 0 for a planned change. */
  replaced: { reason: string; gapMs: number };
  /** The tables cannot be made again; attempts go on. */
  failed: SpliceError;
}

interface Unit {
  readonly change: Change;
  readonly resolve: (read: MapElement[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Bounds the time of one batch to a few ten milliseconds. */
const MAX_BATCH_UNITS = 128;
/** How long a change that may wait does at most. */
const MAX_DELAY_MS = 25;
/** Elements of one command when everything is loaded again. */
const LOAD_ELEMENTS = 4_000;
const DEFAULT_WATCH_INTERVAL_MS = 700;
const DEFAULT_MAX_INPUT_BYTES = 32 * 1024 * 1024;
const GONE = 'nft-ended';
const RETRY_DELAYS = { baseMs: 100, maxMs: 5_000 };

/**
 * Tables of one `nft -i` process, and their elements, which are loaded again into a new process when the process ends,
 * does not answer, or its tables are missing.
 */
export class OwnedTables {
  readonly events: Events<TablesEvents> = new Events();
  readonly #components: TablesComponents;
  readonly #log: Log;
  #definition: TablesDefinition;
  readonly #options: TablesOptions;
  readonly #elements = new Map<string, Map<string, ElementChange>>();
  readonly #objects = new Map<string, ObjectChange>();
  readonly #waiting: Unit[] = [];
  #nft: NftProcess | undefined;
  #table = '';
  #generation = 0;
  #busy: Promise<void> | undefined;
  #watch: Timer | undefined;
  /** Runs while changes wait for others. */
  #delayed: Timer | undefined;
  #overdue = false;
  #missingSinceMs: number | undefined;
  /** Why the tables are to be made again although nothing is wrong with them. */
  #renewal: string | undefined;
  readonly #closing = new AbortController();

  /** Makes the tables. @throws SpliceError when nft or the kernel refuses them. */
  static async open(
    components: TablesComponents,
    definition: TablesDefinition,
    options: TablesOptions,
  ): Promise<OwnedTables> {
    name(`${options.prefix}-${options.instance}-1`);
    const tables = new OwnedTables(components, definition, options);
    try {
      await tables.#load();
    } catch (error) {
      tables.close();
      throw error;
    }
    tables.#armWatch();
    return tables;
  }

  private constructor(components: TablesComponents, definition: TablesDefinition, options: TablesOptions) {
    this.#components = components;
    this.#log = components.log ?? silentLog;
    this.#definition = definition;
    this.#options = options;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The tables' name at the moment; it changes when the process is replaced. */
  get table(): string {
    return this.#table;
  }

  /** How many elements a map holds. */
  size({ family, map }: MapRef): number {
    return this.#elements.get(`${family} ${map}`)?.size ?? 0;
  }

  /** Elements of a map as they were confirmed. */
  confirmed({ family, map }: MapRef): ReadonlyMap<string, ElementChange> {
    return this.#elements.get(`${family} ${map}`) ?? new Map();
  }

  /**
   * Makes a change. Changes that wait are put into one batch.
   * @returns counters of `readBefore`, when the kernel has confirmed
   * @throws SpliceError when it rejects this change; others of the same batch are not affected.
   */
  apply(change: Change): Promise<MapElement[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(closedError());
        return;
      }
      this.#waiting.push({ change, resolve, reject });
      if (change.mayWait) this.#delayed ??= this.#components.clock.timer(MAX_DELAY_MS, () => this.#hurry());
      this.#work();
    });
  }

  /**
   * Reads all elements of a map or set from the kernel. The process that makes the changes does it: another one would
   * start again with every change that is made meanwhile. Takes about 50 µs for each element.
   * @throws SpliceError when they cannot be read.
   */
  async read({ family, map }: MapRef, kind: 'map' | 'set' = 'map'): Promise<MapElement[]> {
    const command = `list ${kind} ${family} ${this.#table} ${map}`;
    return parseElements(await this.#process().run([command], `the reading of ${map}`));
  }

  /** Reads all elements of a set that rules fill, and empties it; what comes in between is lost. @throws SpliceError when they cannot be read. */
  async take({ family, map }: MapRef): Promise<MapElement[]> {
    const set = `set ${family} ${this.#table} ${map}`;
    const read = await this.#process().run([`list ${set}`], `the reading of ${map}`);
    // Of a batch with both, nft empties the set before it lists it.
    await this.#process().run([`flush ${set}`], `the emptying of ${map}`);
    return parseElements(read);
  }

  /**
   * Returns what nft prints of all named counters, and sets them to zero: to list them, nft would read every element of every
   * map first. @throws SpliceError when they cannot be read.
   */
  async resetCounters(family: MapRef['family']): Promise<string> {
    return this.#process().run([`reset counters table ${family} ${this.#table}`], 'the reading of counters');
  }

  /** Makes the tables again, without a gap, from a new definition: soon, not at once. */
  async renew(reason: string): Promise<void> {
    this.#renewal = reason;
    await this.check();
  }

  /** Looks now whether the tables are there, and makes them again if not. */
  async check(): Promise<void> {
    if (this.#closed || this.#busy !== undefined) return;
    const isFull = (this.#nft?.writtenBytes ?? 0) > (this.#options.maxInputBytes ?? DEFAULT_MAX_INPUT_BYTES);
    const renewal = isFull ? 'nft has used its share of memory' : this.#renewal;
    if (renewal !== undefined) {
      this.#renewal = undefined;
      await this.#exclusively(() => this.#replace(renewal, true));
      return;
    }
    await this.#exclusively(async () => {
      const reason = await this.#damage();
      if (reason !== undefined) await this.#replace(reason, false);
    });
  }

  /** Removes the tables. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closing.abort(closedError());
    this.#watch?.cancel();
    this.#delayed?.cancel();
    this.#nft?.close();
    for (const unit of this.#waiting.splice(0)) unit.reject(closedError());
  }

  #armWatch(): void {
    const { clock } = this.#components;
    this.#watch = clock.timer(this.#options.watchIntervalMs ?? DEFAULT_WATCH_INTERVAL_MS, () => {
      void this.check().finally(() => {
        if (!this.#closed) this.#armWatch();
      });
    });
  }

  #work(): void {
    if (this.#busy !== undefined || this.#closed || !this.#hasWork()) return;
    void this.#exclusively(() => this.#drain());
  }

  /** What has waited long enough goes now. */
  #hurry(): void {
    this.#delayed = undefined;
    this.#overdue = true;
    this.#work();
  }

  #hasWork(): boolean {
    if (this.#overdue) return this.#waiting.length > 0;
    return this.#waiting.some(({ change }) => !change.mayWait);
  }

  /** Runs one thing at a time, then what has come meanwhile. Never rejects. */
  #exclusively(what: () => Promise<void>): Promise<void> {
    const busy = what()
      .catch((error: unknown) => {
        if (!this.#closed) this.#log.error(`The kernel data plane failed: ${errorMessage(error)}`);
      })
      .finally(() => {
        this.#busy = undefined;
        if (this.#nft?.ended) void this.check();
        else this.#work();
      });
    this.#busy = busy;
    return busy;
  }

  async #drain(): Promise<void> {
    // What is asked for in the same turn of the event loop goes into one batch.
    await Promise.resolve();
    while (!this.#closed && this.#hasWork()) await this.#commit(this.#takeBatch());
    if (this.#waiting.length > 0) return;
    this.#overdue = false;
    this.#delayed?.cancel();
    this.#delayed = undefined;
  }

  /** Takes waiting units up to the first that touches an element which the batch touches already. */
  #takeBatch(): Unit[] {
    const touched = new Set<string>();
    let size = 0;
    for (const { change } of this.#waiting.slice(0, MAX_BATCH_UNITS)) {
      const keys = touchedKeys(change);
      if (keys.some((key) => touched.has(key))) break;
      for (const key of keys) touched.add(key);
      size++;
    }
    return this.#waiting.splice(0, size);
  }

  async #commit(units: Unit[]): Promise<void> {
    try {
      const output = await this.#process().run(
        commandsOf(
          units.map(({ change }) => change),
          this.#table,
        ),
        describe(units),
      );
      this.#settle(units, output);
    } catch (error) {
      if (this.#closed) {
        for (const unit of units) unit.reject(closedError());
      } else if (isGone(error)) {
        await this.#replace(errorMessage(error), false);
        this.#waiting.unshift(...units);
      } else if (units.length > 1) {
        // None took effect. Halves find the one that is wrong.
        const middle = units.length >> 1;
        await this.#commit(units.slice(0, middle));
        await this.#commit(units.slice(middle));
      } else {
        await this.#fail(units[0]!, error);
      }
    }
  }

  async #fail(unit: Unit, error: unknown): Promise<void> {
    const reason = await this.#damage();
    if (reason === undefined) {
      unit.reject(error);
      return;
    }
    await this.#replace(reason, false);
    this.#waiting.unshift(unit);
  }

  #settle(units: readonly Unit[], output: string): void {
    const read = units.some(({ change }) => change.readBefore?.length) ? parseElements(output) : [];
    const byKey = new Map(read.map((element) => [element.key, element]));
    for (const { change, resolve } of units) {
      for (const element of change.remove ?? []) this.#mapOf(element).delete(element.key);
      for (const each of change.removeObjects ?? []) this.#objects.delete(objectId(each));
      for (const each of change.addObjects ?? []) this.#objects.set(objectId(each), each);
      for (const element of change.add ?? []) this.#mapOf(element).set(element.key, element);
      resolve((change.readBefore ?? []).flatMap(({ key }) => byKey.get(key) ?? []));
    }
  }

  #mapOf({ family, map }: MapRef): Map<string, ElementChange> {
    const id = `${family} ${map}`;
    let elements = this.#elements.get(id);
    if (elements === undefined) {
      elements = new Map();
      this.#elements.set(id, elements);
    }
    return elements;
  }

  #process(): NftProcess {
    if (this.#nft === undefined) throw new SpliceError('nft-ended', 'nft is not running.');
    return this.#nft;
  }

  /** Returns what is wrong with the tables; undefined when they are as they should be. */
  async #damage(): Promise<string | undefined> {
    const { families, chains } = this.#definition;
    try {
      for (const family of families) {
        // All chains of the family: for a single one nft reads every element of every map, which holds up changes.
        const output = await this.#process().run([`list chains ${family}`], 'the check of the tables');
        const found = parseChains(output).filter(({ table }) => table === this.#table);
        for (const { chain, devices = [] } of chains(family)) {
          const there = found.find((each) => each.chain === chain);
          if (there === undefined) {
            this.#missingSinceMs ??= this.#components.clock.now();
            return 'the tables were deleted';
          }
          // nft before 1.0.7 prints no devices in JSON; a chain without any is gone, though.
          const absent = devices.find((each) => there.devices?.includes(each) === false);
          if (absent !== undefined) return `the rules are not on ${absent} any more`;
        }
      }
      return undefined;
    } catch (error) {
      return errorMessage(error);
    }
  }

  /** Makes the tables in a new process; the old one ends after that when it still holds them. */
  async #replace(reason: string, planned: boolean): Promise<void> {
    const { clock, random } = this.#components;
    for (const delayMs of backoff({ ...RETRY_DELAYS, random })) {
      try {
        const there = planned && this.#nft?.ended === false;
        this.#definition = (await this.#definition.renewed?.(there)) ?? this.#definition;
        await this.#load();
        break;
      } catch (error) {
        if (this.#closed) return;
        this.#nft?.close();
        this.#missingSinceMs ??= clock.now();
        this.events.emit('failed', error instanceof SpliceError ? error : new SpliceError(GONE, errorMessage(error)));
        await clock.sleep(delayMs, this.#closing.signal);
      }
    }
    const gapMs = this.#missingSinceMs === undefined ? 0 : clock.now() - this.#missingSinceMs;
    this.#missingSinceMs = undefined;
    if (!planned) this.#log.warn(`The kernel's tables were made again: ${reason}`, { gapMs });
    this.events.emit('replaced', { reason, gapMs });
  }

  async #load(): Promise<void> {
    const { system, clock } = this.#components;
    const table = `${this.#options.prefix}-${this.#options.instance}-${++this.#generation}`;
    const { batchTimeoutMs } = this.#options;
    const nft = new NftProcess({ system, clock }, { batchTimeoutMs, onEnded: (error) => this.#onEnded(nft, error) });
    try {
      for (const commands of this.#loadCommands(table)) await nft.run(commands, `table ${table}`);
    } catch (error) {
      nft.close();
      throw error;
    }
    if (this.#closed) {
      nft.close();
      throw closedError();
    }
    const old = this.#nft;
    this.#nft = nft;
    this.#table = table;
    old?.close();
  }

  /** Maps and elements first: rules that see half of them would forward half of a session. */
  *#loadCommands(table: string): Generator<string[]> {
    const { families, commands } = this.#definition;
    const all = families.map((family) => ({ family, list: commands(family, table) }));
    const isRule = (command: string) => command.startsWith('add rule');
    yield all.flatMap(({ family, list }) => [
      `add table ${family} ${table} { flags owner; }`,
      ...list.filter((command) => !isRule(command)),
    ]);
    if (this.#objects.size > 0) yield [...this.#objects.values()].flatMap((each) => addObject(each, table));
    for (const elements of this.#elements.values()) {
      const all = [...elements.values()];
      for (let at = 0; at < all.length; at += LOAD_ELEMENTS)
        yield addElements(all.slice(at, at + LOAD_ELEMENTS), table);
    }
    yield all.flatMap(({ list }) => list.filter(isRule));
  }

  #onEnded(nft: NftProcess, error: SpliceError): void {
    if (nft !== this.#nft || this.#closed) return;
    if (errorCode(error) !== 'nft-timeout') this.#missingSinceMs ??= this.#components.clock.now();
    void this.check();
  }
}

function touchedKeys(change: Change): string[] {
  return [...(change.remove ?? []), ...(change.add ?? [])].map(({ family, map, key }) => `${family} ${map} ${key}`);
}

function describe(units: readonly Unit[]): string {
  return units.length === 1 ? 'one change' : `${units.length} changes`;
}

function objectId({ family, kind, object }: ObjectChange): string {
  return `${family} ${kind} ${object}`;
}

function closedError(): SpliceError {
  return new SpliceError('closed', 'The kernel data plane was closed.');
}

import { hostname } from 'node:os';
import { allDone, backoff, errorCode, errorMessage, type Timer, TowpathError } from '@towpath/core';
import type { Camera, DaemonStatus, NewCamera, Party, Problem } from '@towpath/dashboard/api';
import type { ServerToCheck } from '@towpath/netcheck';
import { isIpAddress } from '@towpath/net/address';
import type { Runtime } from '../cli/runtime.ts';
import { type CameraRuntime, cameraRuntime } from '../commands/camera/target.ts';
import type { MeshNodeOptions } from '../commands/mesh/mesh-node.ts';
import type { KnownParty } from '../config/party-home.ts';
import { AdapterTurns } from './cameras/adapter-turns.ts';
import { CameraHolder, type CameraHolderComponents } from './cameras/camera-holder.ts';
import { Downloads } from './cameras/downloads.ts';
import { HeldDevices } from './cameras/held-devices.ts';
import type { CameraConfig, DaemonConfig } from './config/config.ts';
import { loadConfig, removeCameraFrom, writeCamera } from './config/config-file.ts';
import { type CameraFile, isCameraTarget } from './config/schema.ts';
import { EventHub } from './events/hub.ts';
import { DaemonMetrics } from './metrics/daemon-metrics.ts';
import { NetworkChecks } from './network-check.ts';
import { PartyRunner, type PartyRunnerComponents } from './parties/party-runner.ts';
import type { DaemonState, StateFolder } from './state/state-folder.ts';
import { VERSION } from '../cli/version.ts';

/** Pauses before cameras that could not be begun are tried again, as when another process has a folder, ms. */
const OPEN_AGAIN = { baseMs: 1_000, maxMs: 60_000 } as const;

export interface DaemonOptions {
  readonly config: DaemonConfig;
  readonly state: StateFolder;
  /** The parties to keep up, with their options. */
  readonly parties: readonly { party: KnownParty; options: MeshNodeOptions; open?: PartyRunnerComponents['open'] }[];
  /** Settings of the command line, which stay stronger than the file when it is read again. */
  readonly given: Readonly<Record<string, string>>;
  readonly freeBytes?: CameraHolderComponents['freeBytes'];
  /** A daemon has ended for this one, which therefore tries again and again instead of ending. @default false */
  readonly isSuccessor?: boolean;
}

/** Parties and cameras side by side, with everything that pages and commands ask about them. */
export class Daemon implements AsyncDisposable {
  readonly runtime: Runtime;
  readonly hub: EventHub;
  readonly metrics: DaemonMetrics;
  readonly downloads: Downloads;
  readonly checks: NetworkChecks;
  readonly parties: Map<string, PartyRunner> = new Map();
  readonly cameras: Map<string, CameraHolder> = new Map();
  /** Resolves when somebody asks the daemon to end. */
  readonly ended: AbortController = new AbortController();
  readonly #options: DaemonOptions;
  readonly #cameraRuntime: CameraRuntime;
  readonly #startedAt: string;
  readonly #cameraProblems = new Map<string, Problem>();
  readonly #turns = new AdapterTurns();
  readonly #devices: HeldDevices;
  #config: DaemonConfig;
  #configProblem: Problem | undefined;
  #reloading: Promise<void> = Promise.resolve();
  #openAgain: Timer | undefined;
  #pauses: Iterator<number, void> | undefined;
  #isClosing = false;

  constructor(runtime: Runtime, options: DaemonOptions) {
    this.runtime = runtime;
    this.#cameraRuntime = cameraRuntime(runtime);
    this.#options = options;
    this.#config = options.config;
    this.#startedAt = this.#now();
    this.#devices = new HeldDevices({
      holders: options.state.state.devices,
      onChanged: (devices) => this.#save({ devices }),
    });
    this.hub = new EventHub(runtime, { run: Buffer.from(runtime.random.bytes(8)).toString('hex') });
    this.metrics = new DaemonMetrics({
      clock: runtime.clock,
      source: {
        parties: () => this.describeParties(),
        cameras: () => this.describeCameras(),
        subscribers: () => this.hub.subscribers,
      },
    });
    const publish = this.hub.publish.bind(this.hub);
    this.downloads = new Downloads(runtime, publish);
    this.checks = new NetworkChecks(runtime, publish, () => this.#serversToCheck());
    for (const { party, options: meshOptions, open } of options.parties) {
      const runner = new PartyRunner({ runtime, publish, observer: this.metrics.peers, open }, party, {
        ...meshOptions,
        accept: [...meshOptions.accept, ...behindMembers(options.config)],
      });
      this.parties.set(party.id, runner);
    }
  }

  get config(): DaemonConfig {
    return this.#config;
  }

  /**
   * Brings everything up. A party or camera that fails is tried again and reported; the others go on.
   * @throws the error of the first party when there is nothing else to hold and no daemon has ended for this one.
   */
  async start(): Promise<void> {
    const { signal, log } = this.runtime;
    const starting = Promise.allSettled([...this.parties.values()].map((runner) => runner.start(signal)));
    // Whoever disposes of the daemon meanwhile waits for it: a camera that is opened afterwards would be held for ever.
    this.#reloading = this.#reloading.then(() => this.#syncCameras(this.#config));
    await this.#reloading;
    const started = await starting;
    const failures = started.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    signal.throwIfAborted();
    const isAll = this.cameras.size === 0 && failures.length > 0 && failures.length === this.parties.size;
    if (isAll && !this.#options.isSuccessor) throw failures[0];
    for (const failure of failures) log.warn(`A party is not up and is tried again: ${errorMessage(failure)}`);
  }

  status(): DaemonStatus {
    return {
      version: 1,
      program: VERSION,
      run: this.hub.run,
      sequence: this.hub.sequence,
      host: hostname(),
      startedAt: this.#startedAt,
      parties: [...this.parties.values()].map((runner) => ({ ...runner.describe(), peers: runner.peers() })),
      cameras: this.describeCameras(),
      problems: this.problems(),
    };
  }

  describeParties(): Party[] {
    return [...this.parties.values()].map((runner) => runner.describe());
  }

  describeCameras(): Camera[] {
    return [...this.cameras.values()].map((holder) => holder.describe());
  }

  /** What needs attention now. */
  problems(): Problem[] {
    return [
      ...(this.#configProblem === undefined ? [] : [this.#configProblem]),
      ...this.describeParties().flatMap(({ problem }) => (problem === null ? [] : [problem])),
      ...[...this.parties.values()].flatMap((runner) => runner.problems()),
      ...this.#cameraProblems.values(),
      ...this.describeCameras().flatMap(({ problem, outputProblems }) => [
        ...(problem === null || problem.code === 'not-connected' ? [] : [problem]),
        ...outputProblems.map(({ code, message, at }) => ({ code, message, at })),
      ]),
    ];
  }

  /** @throws TowpathError `not-found`. */
  party(id: string): PartyRunner {
    const found = this.parties.get(id) ?? [...this.parties.values()].find(({ party }) => party.name === id);
    if (found !== undefined) return found;
    throw notFound(`No party ${id} is up here.`);
  }

  /** @throws TowpathError `not-found`. */
  camera(name: string): CameraHolder {
    const found = this.cameras.get(name);
    if (found !== undefined) return found;
    throw notFound(`There is no camera ${name}. Next: towpath camera add ${name} ADDRESS`);
  }

  /** Adds a camera to the configuration and begins to hold it. @throws TowpathError `conflict`; ConfigError. */
  async addCamera({ name, target, via, keep, deleteFromCard }: NewCamera): Promise<Camera> {
    if (this.cameras.has(name)) {
      throw new TowpathError(
        'conflict',
        `There is a camera ${name} already. Next: choose another name, or remove it first.`,
      );
    }
    if (!isCameraTarget(target)) {
      throw new TowpathError('bad-argument', `"${target}" is not an IP address, such as 192.168.43.1, nor a UID.`, {
        kind: 'usage',
      });
    }
    const file: CameraFile = {
      target,
      ...(via === undefined ? {} : { via }),
      ...(keep === undefined ? {} : { keep }),
      ...(deleteFromCard === undefined ? {} : { 'delete-from-card': deleteFromCard }),
    };
    writeCamera(this.runtime, name, file);
    await this.reload();
    return this.camera(name).describe();
  }

  /** Removes a camera from the configuration; its pictures stay. @throws TowpathError `not-found`. */
  async removeCamera(name: string): Promise<void> {
    if (!removeCameraFrom(this.runtime, name)) throw notFound(`There is no camera ${name}.`);
    await this.reload();
  }

  /**
   * Says that another daemon of this machine follows at once: the peers are not told that this node leaves.
   * @returns the UDP ports of the path sockets, by party
   */
  expectSuccessor(): Record<string, number> {
    const ports = [...this.parties.values()].map((runner) => [runner.party.id, runner.expectSuccessor()] as const);
    return Object.fromEntries(ports.flatMap(([id, port]) => (port === undefined ? [] : [[id, port]])));
  }

  /** Reads the configuration again and applies what can be applied; a wrong file changes nothing and is reported. */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reload());
    return this.#reloading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    this.#openAgain?.cancel();
    await this.#reloading;
    using _hub = this.hub;
    // The lock of this node is given up next: nothing may be held any more, also when something fails.
    await allDone([
      this.downloads[Symbol.asyncDispose](),
      this.checks[Symbol.asyncDispose](),
      ...[...this.cameras.values()].map((holder) => holder[Symbol.asyncDispose]()),
      ...[...this.parties.values()].map((runner) => runner[Symbol.asyncDispose]()),
    ]);
  }

  async #reload(): Promise<void> {
    const { log } = this.runtime;
    let next: DaemonConfig;
    try {
      next = loadConfig(this.runtime, this.#options.given);
    } catch (error) {
      this.#configProblem = { code: errorCode(error), message: errorMessage(error), at: this.#now() };
      log.error(`The configuration was not applied: ${errorMessage(error)}`);
      this.hub.publish({ type: 'notice', level: 'error', notice: this.#configProblem });
      return;
    }
    this.#configProblem = undefined;
    const before = this.#config;
    this.#config = next;
    await this.#syncRoutes(next);
    await this.#syncCameras(next, before);
    const { config: started } = this.#options;
    // What is as it was at the start is in force; what was said before is not said again.
    const waits = (['api', 'parties'] as const).filter(
      (part) => !isSame(started[part], next[part]) && !isSame(before[part], next[part]),
    );
    if (waits.length > 0) {
      const message = `Changes of ${waits.join(' and ')} take effect at the next start. Next: restart towpath up.`;
      log.warn(message);
      this.hub.publish({ type: 'notice', level: 'info', notice: { code: 'restart-needed', message, at: this.#now() } });
    }
  }

  /** Cameras behind members need their routes before they are connected. */
  async #syncRoutes(config: DaemonConfig): Promise<void> {
    for (const { party, options } of this.#options.parties) {
      try {
        await this.parties.get(party.id)?.setAccepted([...options.accept, ...behindMembers(config)]);
      } catch (error) {
        const message = `${party.name}: a camera behind a member is not routed: ${errorMessage(error)}`;
        this.runtime.log.error(message, { code: errorCode(error) });
        const notice = { code: errorCode(error), message, at: this.#now() };
        this.hub.publish({ type: 'notice', level: 'error', notice });
      }
    }
  }

  /** Ends what is no longer configured, begins what is new, and begins anew what has changed. */
  async #syncCameras(config: DaemonConfig, before?: DaemonConfig): Promise<void> {
    const picturesChanged = before !== undefined && !isSame(before.pictures, config.pictures);
    const wanted = new Map(config.cameras.map((camera) => [camera.name, camera]));
    this.#turns.use(config.cameras.flatMap(({ wake }) => (wake === undefined ? [] : [wake.wifi])));
    const ending = [...this.cameras].filter(
      ([name, holder]) => picturesChanged || !isSame(withoutOutputs(wanted.get(name)), withoutOutputs(holder.config)),
    );
    await Promise.all(
      ending.map(async ([name, holder]) => {
        this.cameras.delete(name);
        await holder[Symbol.asyncDispose]();
        if (wanted.get(name)?.outputs === undefined) await holder.forgetOutputs();
        if (wanted.has(name)) return;
        this.hub.publish({ type: 'camera-removed', camera: name });
      }),
    );
    this.#devices.keepOnly(wanted);
    for (const [name, holder] of this.cameras) {
      const camera = wanted.get(name);
      // Other outputs need no other connection.
      if (camera !== undefined && !isSame(camera.outputs, holder.config.outputs)) await holder.setOutputs(camera);
    }
    for (const name of this.#cameraProblems.keys()) if (!wanted.has(name)) this.#cameraProblems.delete(name);
    this.#forgetOthers(wanted);
    for (const [name, camera] of wanted)
      if (!this.cameras.has(name) && !this.#isClosing) await this.#openCamera(name, camera);
    this.#openAgain?.cancel();
    if (this.#cameraProblems.size === 0) this.#pauses = undefined;
    if (this.#cameraProblems.size === 0 || this.#isClosing) return;
    const { clock, random } = this.runtime;
    this.#pauses ??= backoff({ ...OPEN_AGAIN, random });
    this.#openAgain = clock.timer(this.#pauses.next().value ?? OPEN_AGAIN.maxMs, () => {
      this.#reloading = this.#reloading.then(() => (this.#isClosing ? undefined : this.#syncCameras(this.#config)));
    });
  }

  async #openCamera(name: string, camera: CameraConfig): Promise<void> {
    const { runtime, hub } = this;
    const { state, freeBytes } = this.#options;
    try {
      const holder = await CameraHolder.open(
        {
          runtime: { ...this.#cameraRuntime, log: runtime.log.child('CAMERA', { camera: name }) },
          publish: hub.publish.bind(hub),
          remember: (of, memo) => this.#save({ cameras: { ...state.state.cameras, [of]: memo } }),
          visited: (of, at) => this.#save({ visits: { ...state.state.visits, [of]: at } }),
          devices: this.#devices,
          turn: (adapter, signal) => this.#turns.acquire(adapter, signal),
          freeBytes,
        },
        camera,
        { pictures: this.#config.pictures, memo: state.state.cameras[name], visitedAt: state.state.visits?.[name] },
      );
      this.cameras.set(name, holder);
      this.#cameraProblems.delete(name);
      hub.publish({ type: 'camera', camera: holder.describe() });
    } catch (error) {
      const problem = { code: errorCode(error), message: `${name}: ${errorMessage(error)}`, at: this.#now() };
      if (this.#cameraProblems.get(name)?.message === problem.message) return;
      this.#cameraProblems.set(name, problem);
      runtime.log.error(`Camera ${problem.message}`, { code: problem.code });
      hub.publish({ type: 'notice', level: 'error', notice: problem });
    }
  }

  /** What is remembered of a camera is not taken for one that is added later under its name. */
  #forgetOthers(wanted: ReadonlyMap<string, CameraConfig>): void {
    const { cameras, visits = {} } = this.#options.state.state;
    if (Object.keys({ ...cameras, ...visits }).every((name) => wanted.has(name))) return;
    const kept = <Value>(all: Readonly<Record<string, Value>>) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => wanted.has(name)));
    this.#save({ cameras: kept(cameras), visits: kept(visits) });
  }

  #save(changes: Partial<DaemonState>): void {
    const { state } = this.#options;
    try {
      state.update({ ...state.state, ...changes });
    } catch (error) {
      this.runtime.log.warn(`The state was not saved: ${errorMessage(error)}`, { code: errorCode(error) });
    }
  }

  /** STUN servers and relays of all parties. */
  #serversToCheck(): ServerToCheck[] {
    const found = new Map<string, ServerToCheck>();
    for (const runner of this.parties.values()) {
      for (const { urls } of runner.relays()) {
        const match = /^turn:(\[[0-9a-f:]+\]|[^:?]+)(?::(\d+))?/i.exec(
          urls.find((url) => url.startsWith('turn:')) ?? '',
        );
        const host = match?.[1]?.replace(/^\[|\]$/g, '');
        if (host === undefined) continue;
        found.set(`${host}:${match?.[2]}`, { host, port: Number(match?.[2] ?? 3_478) });
      }
    }
    return [...found.values()].sort((a, b) => Number(isIpAddress(b.host)) - Number(isIpAddress(a.host)));
  }

  #now(): string {
    return new Date(this.runtime.clock.wallTime()).toISOString();
  }
}

/** A camera behind a member is reached over a route to its address alone. */
function behindMembers({ cameras }: DaemonConfig): { peer: string; network: string }[] {
  return cameras.flatMap(({ via, target }) => (via === undefined ? [] : [{ peer: via, network: `${target}/32` }]));
}

function withoutOutputs(camera: CameraConfig | undefined): object | undefined {
  return camera && { ...camera, outputs: undefined };
}

function notFound(message: string): TowpathError {
  return new TowpathError('not-found', message, { kind: 'refused' });
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Network } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import type { Runtime } from '../src/cli/runtime.ts';
import { SimulatedRadio, type SleepingCamera } from './simulated-radio.ts';
import { testIo } from './test-io.ts';

const CAMERA_ADDRESS = '192.168.43.1';
const OWN_ADDRESS = '192.168.43.20';
/** Made once for all tests of a file. */
const pictures = paddedPictures({ photoBytes: 20_000, thumbnailBytes: 5_000 });

/** Time that passes at once while nothing happens, and while a visit runs. */
const IDLE_STEP_MS = 10_000;
const BUSY_STEP_MS = 20;

/** Lets real files be read and written, however slow the disk is, while virtual time stands still. */
async function filesDone(): Promise<void> {
  let quiet = 0;
  while (quiet < 2) {
    await new Promise((resolve) => setImmediate(resolve));
    quiet = process.getActiveResourcesInfo().some((name) => /^(FSReq|FileHandle|CloseReq)/.test(name)) ? 0 : quiet + 1;
  }
}

/** A sleeping camera of the simulated world. */
export interface WorldCamera extends SleepingCamera {
  readonly emulator: CameraEmulator;
  /** When it was woken, ms since the start. */
  readonly wakes: number[];
  awake: boolean;
}

/** A machine on a virtual clock with cameras around it that sleep, each with its own hotspot; all have one address. */
export class SleepingWorld implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'towpath-asleep-'));
  readonly clock: VirtualClock = new VirtualClock();
  readonly random: SeededRandom = new SeededRandom(1);
  readonly internet: SimulatedInternet = new SimulatedInternet({ clock: this.clock, random: this.random });
  readonly cameras: WorldCamera[] = [];
  readonly lines: string[] = [];
  radio!: SimulatedRadio;
  #network!: Network;

  static async create(count: number, options: { adapters?: string[] } = {}): Promise<SleepingWorld> {
    const world = new SleepingWorld();
    const { clock, random, internet } = world;
    const home = internet.lan({ subnet: '10.0.0.0/24' }).host().network;
    const own = new Map<string, Network>();
    for (let n = 1; n <= count; n++) {
      const lan = internet.lan({ subnet: '192.168.43.0/24' });
      const network = lan.host({ address: CAMERA_ADDRESS }).network;
      const deviceId = `C2:00:5E:00:53:0${n}`;
      const emulator = new CameraEmulator(
        { network, clock, random },
        { pictures, deviceId, itemCount: 3, videoEvery: 0, newPictureEveryMs: 25 * 60_000 },
      );
      await clock.runUntil(emulator.start());
      emulator.faults.silent = true;
      const ssid = `KJK_530${n}`;
      own.set(ssid, lan.host({ address: OWN_ADDRESS }).network);
      const camera: WorldCamera = {
        bluetooth: deviceId,
        name: `TC100_530${n}`,
        ssid,
        password: '24681357',
        emulator,
        wakes: [],
        awake: false,
        onWake() {
          camera.awake = true;
          camera.wakes.push(clock.now());
          emulator.faults.silent = false;
        },
        onSleep() {
          camera.awake = false;
          emulator.faults.silent = true;
        },
      };
      world.cameras.push(camera);
    }
    world.#network = home;
    world.radio = new SimulatedRadio(clock, world.cameras, { ...options, address: OWN_ADDRESS });
    world.radio.onJoined = (ssid) => {
      world.#network = own.get(ssid ?? '') ?? home;
    };
    return world;
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  runtime(signal: AbortSignal = new AbortController().signal): Runtime {
    const { clock, random } = this;
    const print = (line: string) => void this.lines.push(line);
    const io = testIo({ out: print, err: print, columns: 200, readLine: async () => undefined });
    // The network of the machine is that of the hotspot that it is in.
    const network = new Proxy({} as Network, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(this.#network, name, this.#network);
        return typeof value === 'function' ? value.bind(this.#network) : value;
      },
    });
    const openBus = async () => this.radio.bus();
    return { io, clock, random, network, log: silentLog, signal, configFolder: this.file('config'), openBus };
  }

  /** Lets time pass, slowly while a visit runs, so that real files are written meanwhile. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.clock.now() + ms;
    for (;;) {
      const leftMs = untilMs - this.clock.now();
      if (leftMs <= 0) return;
      const busy = this.radio.openBuses > 0;
      await this.clock.advance(Math.min(leftMs, busy ? BUSY_STEP_MS : IDLE_STEP_MS));
      // Also after a visit: copies and events are written then.
      await filesDone();
    }
  }

  /** Waits for work in which real files are written; hardly any time passes. */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    while (!settled) {
      await filesDone();
      await this.clock.advance(1);
    }
    return work;
  }

  /** What is still open when everything was closed. */
  async leftovers(): Promise<{ sockets: number; timers: number; profiles: string[]; buses: number }> {
    for (const { emulator } of this.cameras) await this.run(emulator.close());
    // The radio has timers of its own, until the camera would have answered.
    await this.clock.advance(10_000);
    const { profiles, openBuses } = this.radio;
    return { sockets: this.internet.openSockets, timers: this.clock.pendingTimers, profiles, buses: openBuses };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

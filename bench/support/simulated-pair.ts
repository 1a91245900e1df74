import { CameraClient } from '@towpath/camera';
import { ParallelConnectionManager } from '@towpath/camera/compat';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { natKinds, type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import { connectByLanSearch, connectByRelay, connectByRendezvous, type PpppSession } from '@towpath/pppp';
import { RelayServer, RendezvousServer } from '@towpath/pppp/server';

export const SERVER_RTT_MS = 40;
/** Links of the simulation: the LAN, and from each end to the server. */
const LAN_WIRE_MS = 0.25;
const WIRE_MS: number = (SERVER_RTT_MS / 2 - LAN_WIRE_MS) / 2;

const UID = 'TEST-000001-BENCH';
const SERVER = '198.51.100.1';
const RELAY_ELSEWHERE = '198.51.101.1';
const RELAY_PORT = 32_110;

/** Time for the camera to log in at the server; then races start at any moment. */
const LOGIN_MS = 3_000;
const ANY_MOMENT_MS = 10_000;
/** Time limit for a direct path. */
const LIMIT_MS = 20_000;

/** The limits of the vendor's library, as recorded: its LAN search, then its P2P phase, then the relay. */
const VENDOR_LAN_MS = 1_450;
const VENDOR_P2P_MS = 4_500;

export interface PairOptions {
  seed: number;
  /** Share of packets lost on each way. */
  lossRatio: number;
  /** False: packets pass between the ends only through the server. */
  direct: boolean;
  /** The relay has another address than the rendezvous. */
  relayElsewhere?: boolean;
}

/** Since the start of the race, ms. */
export interface RaceTimes {
  first: number;
  /** Time of the direct path when the first path was a relay. */
  direct: number | undefined;
  relay: number | undefined;
  /** Whether the first path carried data. */
  loggedIn: number;
}

/** A camera behind a port-restricted NAT, a client behind another, and a server, on a virtual clock. */
export class SimulatedPair {
  readonly #clock: VirtualClock = new VirtualClock();
  readonly #random: SeededRandom;
  readonly #client: SimulatedHost;
  readonly #camera: CameraEmulator;
  readonly #relayHost: SimulatedHost;
  readonly #serverHost: SimulatedHost;
  readonly #servers: readonly Endpoint[] = [{ address: SERVER, port: 32_100 }];
  readonly #open: { close(): Promise<void> }[] = [];

  private constructor({ seed, lossRatio, direct, relayElsewhere = false }: PairOptions) {
    const clock = this.#clock;
    const random = new SeededRandom(seed);
    const wire = { delayMs: WIRE_MS };
    const internet = new SimulatedInternet({ clock, random }, { link: wire });
    // One lossy link for each end: the stated values apply between the end and the server.
    const nat = () => internet.nat({ ...natKinds.portRestricted, link: { ...wire, lossRatio } });
    const [here, there] = [nat(), nat()];
    const lan = { link: { delayMs: LAN_WIRE_MS } };
    this.#random = random;
    this.#client = here.host(lan);
    this.#serverHost = internet.host({ address: SERVER });
    this.#relayHost = relayElsewhere ? internet.host({ address: RELAY_ELSEWHERE }) : this.#serverHost;
    const { network } = there.host(lan);
    const place = { searchPort: false, servers: this.#servers, pictures: paddedPictures() } as const;
    this.#camera = new CameraEmulator({ network, clock, random }, { uid: UID, ...place });
    if (direct) return;
    const ways = new Set([SERVER, RELAY_ELSEWHERE]);
    internet.intercept(({ source, destination }, next) => {
      if (ways.has(source) || ways.has(destination)) next();
    });
  }

  static async open(options: PairOptions): Promise<SimulatedPair> {
    const pair = new SimulatedPair(options);
    await pair.#start();
    return pair;
  }

  /** The three path kinds at once. */
  async race(): Promise<RaceTimes> {
    const clock = this.#clock;
    const startedAt = clock.now();
    const elapsed = () => clock.now() - startedAt;
    const better = Promise.withResolvers<PpppSession>();
    let direct: number | undefined;
    const manager = new ParallelConnectionManager(UID, { ...this.#components, servers: this.#servers });
    const offer = ({ session }: { session: PpppSession }) => {
      direct = elapsed();
      better.resolve(session);
    };
    const result = await clock.runUntil(manager.connectParallel({ enableRelay: true, offer }));
    if (!result.success) throw new Error(result.error);
    const first = elapsed();
    const relay = result.mode === 'relay' ? first : undefined;
    if (relay === undefined) direct = first;
    const loggedIn = await this.#logIn(result.session, startedAt);
    if (relay !== undefined) {
      const late = await clock.runUntil(Promise.race([better.promise, clock.sleep(LIMIT_MS)]));
      if (late) this.#open.push(late);
    }
    return { first, direct, relay, loggedIn };
  }

  /** The same path kinds one after the other; returns the time to the first path, ms. */
  async oneAfterTheOther(): Promise<number> {
    const clock = this.#clock;
    const startedAt = clock.now();
    const common = { ...this.#components, uid: UID };
    const connects: (() => Promise<PpppSession>)[] = [
      () => connectByLanSearch({ ...common, broadcast: true, timeoutMs: VENDOR_LAN_MS }),
      () => connectByRendezvous({ ...common, servers: this.#servers, timeoutMs: VENDOR_P2P_MS }),
      () => connectByRelay({ ...common, servers: this.#servers }),
    ];
    let reason: unknown;
    for (const connect of connects) {
      try {
        this.#open.push(await clock.runUntil(connect()));
        return clock.now() - startedAt;
      } catch (error) {
        reason = error;
      }
    }
    throw reason;
  }

  async close(): Promise<void> {
    for (const each of this.#open.reverse()) await this.#clock.runUntil(each.close());
  }

  get #components() {
    return { network: this.#client.network, clock: this.#clock, random: this.#random };
  }

  async #start(): Promise<void> {
    const clock = this.#clock;
    const random = this.#random;
    const relays = [{ address: this.#relayHost.address, port: RELAY_PORT }];
    const at = ({ network }: SimulatedHost) => ({ network, clock, random });
    this.#open.push(await RelayServer.listen(at(this.#relayHost), { sessionPorts: 2 }));
    this.#open.push(await RendezvousServer.listen(at(this.#serverHost), { relays }));
    this.#open.push(this.#camera);
    await clock.runUntil(this.#camera.start());
    await clock.advance(LOGIN_MS + random.next() * ANY_MOMENT_MS);
  }

  async #logIn(session: PpppSession, startedAt: number): Promise<number> {
    const { clock, random } = this.#components;
    const client = new CameraClient({ clock, random, connector: { connect: async () => ({ session }) } });
    this.#open.push(client);
    await clock.runUntil(client.connectWithRetries());
    return clock.now() - startedAt;
  }
}

import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import {
  type NatKind,
  natKinds,
  type SimulatedHost,
  SimulatedInternet,
  type SimulatedNat,
} from '@towpath/net/simulated';
import {
  type ConnectByRelayOptions,
  type ConnectByRendezvousOptions,
  connectByRelay,
  connectByRendezvous,
  type PpppSession,
} from '../src/index.ts';
import {
  DeviceRegistration,
  type DeviceRegistrationOptions,
  PpppDevice,
  type PpppDeviceOptions,
} from '../src/device/index.ts';
import { type RelayOptions, RelayServer, type RendezvousOptions, RendezvousServer } from '../src/server/index.ts';

export const UID = 'TEST-000001-BCDEF';

/** Round trip of every host behind a NAT to every server, ms: two LAN wires and two to the internet, there and back. */
export const SERVER_RTT_MS = 40;
const WIRE_MS = 9.875;

export interface WorldOptions {
  seed?: number;
  client?: NatKind;
  device?: NatKind;
  /** Rendezvous servers. @default 2 */
  servers?: number;
  /** Relays on hosts of their own; 0: one at the first rendezvous. @default 1 */
  relays?: number;
  lossRatio?: number;
  rendezvous?: RendezvousOptions;
  relay?: RelayOptions;
}

/** A client and a device behind NATs, rendezvous servers and relays, on a virtual clock. */
export class World {
  readonly clock: VirtualClock = new VirtualClock();
  readonly random: SeededRandom;
  readonly internet: SimulatedInternet;
  readonly clientNat: SimulatedNat;
  readonly deviceNat: SimulatedNat;
  readonly client: SimulatedHost;
  readonly camera: SimulatedHost;
  readonly rendezvous: RendezvousServer[] = [];
  readonly relays: RelayServer[] = [];
  readonly serverHosts: SimulatedHost[] = [];
  readonly relayHosts: SimulatedHost[] = [];
  readonly servers: Endpoint[] = [];
  /** What the device got. */
  readonly sessions: PpppSession[] = [];
  device: PpppDevice | undefined;
  registration: DeviceRegistration | undefined;

  private constructor({ seed = 1, client = 'portRestricted', device = 'portRestricted', lossRatio = 0 }: WorldOptions) {
    this.random = new SeededRandom(seed);
    const link = { delayMs: WIRE_MS, lossRatio: 0 };
    this.internet = new SimulatedInternet({ clock: this.clock, random: this.random }, { link });
    // Loss on one wire of a path: what is stated is what a datagram meets on each way.
    this.clientNat = this.internet.nat({ ...natKinds[client], link: { ...link, lossRatio } });
    this.deviceNat = this.internet.nat({ ...natKinds[device], link });
    this.client = this.clientNat.host({ name: 'client' });
    this.camera = this.deviceNat.host({ name: 'camera', link: { delayMs: 0.25, lossRatio } });
  }

  static async make(options: WorldOptions = {}): Promise<World> {
    const world = new World(options);
    const { servers = 2, relays = 1 } = options;
    const { clock, random, internet } = world;
    const hosts = Array.from({ length: servers }, (_, at) => internet.host({ address: `198.51.100.${at + 1}` }));
    world.serverHosts.push(...hosts);
    world.relayHosts.push(
      ...Array.from({ length: relays }, (_, at) => internet.host({ address: `198.51.101.${at + 1}` })),
    );
    if (relays === 0) world.relayHosts.push(hosts[0]!);
    for (const { network } of world.relayHosts) {
      world.relays.push(await RelayServer.listen({ network, clock, random }, { sessionPorts: 4, ...options.relay }));
    }
    const named = world.relayHosts.map(({ address }) => ({ address, port: 32_110 }));
    for (const { network, address } of hosts) {
      const server = await RendezvousServer.listen(
        { network, clock, random },
        { relays: named, ...options.rendezvous },
      );
      world.rendezvous.push(server);
      world.servers.push({ address, port: 32_100 });
    }
    return world;
  }

  /** Brings the device up and waits until it is logged in (or three seconds). */
  async startDevice(
    device: Partial<PpppDeviceOptions> = {},
    registration: Partial<DeviceRegistrationOptions> = {},
  ): Promise<void> {
    const { clock, random, servers } = this;
    const { network } = this.camera;
    this.device = await PpppDevice.open(
      { network, clock },
      {
        uid: UID,
        searchPort: false,
        onSession: (session) => {
          this.sessions.push(session);
          session.attach({ onData: (channel, data) => session.write(channel, data) });
          session.write(0, Buffer.from('ACK'));
        },
        ...device,
      },
    );
    this.registration = new DeviceRegistration(
      { device: this.device, network, clock, random },
      { servers, ...registration },
    );
    await clock.advance(3_000);
  }

  byRendezvous(options: Partial<ConnectByRendezvousOptions> = {}): Promise<PpppSession> {
    return connectByRendezvous({ ...this.common, ...options });
  }

  byRelay(options: Partial<ConnectByRelayOptions> = {}): Promise<PpppSession> {
    return connectByRelay({ ...this.common, ...options });
  }

  /** Runs a connection to its end; `ms` is what it took. */
  async timed(connecting: Promise<PpppSession>): Promise<{ session: PpppSession; ms: number }> {
    const startedAt = this.clock.now();
    const session = await this.clock.runUntil(connecting);
    return { session, ms: this.clock.now() - startedAt };
  }

  /** Sends bytes to the device, which sends them back; returns what came, its greeting left out. */
  async echo(session: PpppSession, data: Uint8Array, limitMs = 30_000): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let received = 0;
    const done = new Promise<void>((resolve) => {
      session.attach({
        onData(channel, piece) {
          if (channel !== 1) return;
          pieces.push(piece);
          received += piece.length;
          if (received >= data.length) resolve();
        },
      });
    });
    session.write(1, data);
    await this.clock.runUntil(done, limitMs);
    return Buffer.concat(pieces);
  }

  /** Closes everything and returns what is left open. */
  async end(...sessions: PpppSession[]): Promise<{ sockets: number; timers: number }> {
    const { clock, internet } = this;
    for (const session of sessions) await clock.runUntil(session.close());
    await clock.advance(2_000);
    const registration = this.registration?.close() ?? Promise.resolve();
    await clock.runUntil(registration);
    await clock.runUntil(Promise.all([this.device?.close()]));
    await clock.advance(1_000);
    await clock.runUntil(Promise.all([...this.rendezvous, ...this.relays].map((server) => server.close())));
    await clock.advance(120_000);
    return { sockets: internet.openSockets, timers: clock.pendingTimers };
  }

  get common(): Pick<ConnectByRelayOptions, 'network' | 'clock' | 'random' | 'servers' | 'uid'> {
    const { clock, random, servers } = this;
    return { network: this.client.network, clock, random, servers, uid: UID };
  }
}

import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint, Network } from '@towpath/net';
import { type NatKind, natKinds, type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import { RelayServer, RendezvousServer } from '@towpath/pppp/server';
import { CameraEmulator, type CameraEmulatorOptions, paddedPictures } from '../src/emulator/index.ts';

export const UID = 'TEST-000001-BCDEF';

export interface WorldOptions {
  seed?: number;
  client?: NatKind;
  camera?: NatKind;
  servers?: number;
  lossRatio?: number;
  jitterMs?: number;
  emulator?: CameraEmulatorOptions;
}

export interface World {
  clock: VirtualClock;
  random: SeededRandom;
  internet: SimulatedInternet;
  emulator: CameraEmulator;
  running: { host: SimulatedHost; relay: RelayServer; rendezvous: RendezvousServer }[];
  /** The rendezvous servers. */
  endpoints: Endpoint[];
  /** Of the client. */
  components: { network: Network; clock: VirtualClock; random: SeededRandom };
  close(): Promise<void>;
}

/** A camera behind one NAT, a client behind another, and servers, each a rendezvous with a relay, between them. */
export async function world(options: WorldOptions = {}): Promise<World> {
  const { seed = 1, client = 'portRestricted', camera = 'portRestricted', servers = 1 } = options;
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const link = { delayMs: 5, jitterMs: options.jitterMs ?? 0, lossRatio: options.lossRatio ?? 0 };
  const internet = new SimulatedInternet({ clock, random }, { link });
  const running: { host: SimulatedHost; relay: RelayServer; rendezvous: RendezvousServer }[] = [];
  for (let n = 1; n <= servers; n++) {
    const address = `198.51.100.${n}`;
    const host = internet.host({ address });
    const components = { network: host.network, clock, random };
    const relay = await RelayServer.listen(components, { sessionPorts: 2 });
    const rendezvous = await RendezvousServer.listen(components, { relays: [{ address, port: 32_110 }] });
    running.push({ host, relay, rendezvous });
  }
  const endpoints = running.map(({ host }) => ({ address: host.address, port: 32_100 }));
  const emulator = new CameraEmulator(
    { network: internet.nat({ ...natKinds[camera], link }).host().network, clock, random },
    { uid: UID, searchPort: false, servers: endpoints, pictures: paddedPictures(), ...options.emulator },
  );
  await clock.runUntil(emulator.start());
  await clock.advance(4_000);
  const phone = internet.nat({ ...natKinds[client], link }).host();
  const components = { network: phone.network, clock, random };
  const close = async () => {
    await clock.runUntil(emulator.close());
    for (const { relay, rendezvous } of running) {
      await clock.runUntil(relay.close());
      await clock.runUntil(rendezvous.close());
    }
    await clock.advance(1_000);
  };
  return { clock, random, internet, emulator, running, endpoints, components, close };
}

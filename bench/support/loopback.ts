import { CameraClient, type CameraClientOptions, RaceConnector } from '@towpath/camera';
import { type Clock, type Random, SeededRandom, SystemClock } from '@towpath/core';
import { type Network, NodeNetwork } from '@towpath/net';

export const HERE = '127.0.0.1';

export interface Components {
  network: Network;
  clock: Clock;
  random: Random;
}

/** Real sockets and real time, made-up randomness. */
export function realComponents(seed = 1): Components {
  return { network: new NodeNetwork(), clock: new SystemClock(), random: new SeededRandom(seed) };
}

/** The client of an emulated camera that listens on this port, not yet connected. */
export function clientAt(
  port: number,
  components: Components,
  tuning: Omit<CameraClientOptions, 'connector'> = {},
): CameraClient {
  const { network, clock, random } = components;
  const connector = new RaceConnector(HERE, { network, clock, random, destinationPorts: [port], enableLan: false });
  return new CameraClient({ clock, random, ...tuning, connector });
}

import { CameraClient, RaceConnector } from '@towpath/camera';
import { type Clock, type Random, SeededRandom, SystemClock } from '@towpath/core';
import { type Network, NodeNetwork } from '@towpath/net';

export const HERE = '127.0.0.1';

export interface Components {
  network: Network;
  clock: Clock;
  random: Random;
}

/** Real sockets, real time, seeded randomness. */
export function realComponents(seed = 1): Components {
  return { network: new NodeNetwork(), clock: new SystemClock(), random: new SeededRandom(seed) };
}

/** The client of an emulated camera that listens on this port, not yet connected. */
export function clientAt(port: number, components: Components): CameraClient {
  const { network, clock, random } = components;
  const connector = new RaceConnector({ network, clock, random }, { target: HERE, ports: [port], kinds: ['p2p'] });
  return new CameraClient({ connector, clock, random });
}

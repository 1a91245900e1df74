import { SeededRandom, VirtualClock } from '@towpath/core';
import { type LinkOptions, SimulatedInternet } from '@towpath/net';

/** A simulated internet with its clock and randomness. */
export interface World {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly internet: SimulatedInternet;
}

export function world(seed = 1, options: { link?: LinkOptions; ipv6?: boolean } = {}): World {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  return { clock, random, internet: new SimulatedInternet({ clock, random: new SeededRandom(seed + 1000) }, options) };
}

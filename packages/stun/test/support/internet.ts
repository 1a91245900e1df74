import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type SimulatedLinkOptions, SimulatedInternet } from '@towpath/net/simulated';

/** A simulated internet with its clock and randomness. */
export interface World {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly internet: SimulatedInternet;
}

export function world(seed = 1, options: { link?: SimulatedLinkOptions; ipv6?: boolean } = {}): World {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  return { clock, random, internet: new SimulatedInternet({ clock, random: new SeededRandom(seed + 1000) }, options) };
}

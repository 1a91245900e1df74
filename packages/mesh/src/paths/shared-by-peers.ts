import type { Clock, Log, MonitorTimes, Random } from '@towpath/core';
import type { Network, Subnet } from '@towpath/net';
import type { RelayKey } from '../relays/relay-key.ts';
import type { RelayFigure } from '../relays/relay-signal.ts';
import type { MeshCandidate } from './candidate-signal.ts';
import type { NatWatch } from './nat-watch.ts';
import type { PairMemory } from './pair-memory.ts';
import type { PathTransport } from './path-socket.ts';
import type { PunchBudget } from './punch-budget.ts';

/** What the paths of all peers use of the finder that they share. */
export interface SharedByPeers {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** Path sockets and relayed addresses at this moment. */
  transports(): readonly PathTransport[];
  /** Own candidates at this moment. */
  candidates(): readonly MeshCandidate[];
  /** Networks of this machine's interfaces. */
  localNetworks(): readonly Subnet[];
  /** True for addresses that this machine reaches through WireGuard: a path to them would carry itself. */
  isInTunnel(address: string): boolean;
  /** True for addresses of relays. */
  isRelayAddress(address: string): boolean;
  /** The relay that was measured at an address. */
  relayAt(address: string): RelayKey | undefined;
  /** What this member has measured of its relays. */
  relayFigures(): readonly RelayFigure[];
  /** The relays that the pair wants have changed. */
  onRelaysWanted(): void;
  /** A path through the relay has died. */
  onRelaySuspect(key: RelayKey): void;
  /** A pair is in doubt about its path: relays that may replace it are asked now. */
  onRelaysNeeded(through: (key: RelayKey) => boolean): void;
  /** How the paths are monitored. */
  pathTimes: MonitorTimes;
  nat: NatWatch;
  budget: PunchBudget;
  memory: PairMemory;
}

import { type Clock, type Log, type Random, TowpathError } from '@towpath/core';
import { addressFamily, isLinkLocal, isUnspecified, type Network } from '@towpath/net';
import { type ChosenPlane, NodeSystem, openRelayPlane, type PlaneStats, type RelayPlaneOptions } from '@towpath/splice';
import type { Io } from '../cli/io.ts';
import type { DataPlaneMode } from '../cli/values.ts';
import type { MetricTree } from './metrics-server.ts';
import { printJson } from '../cli/json-output.ts';

export interface KernelPlaneComponents {
  clock: Clock;
  random: Random;
  log: Log;
}

/**
 * Finds out whether the kernel can forward for a relay, and opens its tables.
 * @param options of the tables; `addresses` are the relay's own
 * @throws TowpathError `kernel-unusable` when the mode is `kernel` and it cannot
 */
export async function choosePlane(
  components: KernelPlaneComponents,
  mode: DataPlaneMode,
  options: Omit<RelayPlaneOptions, 'form'>,
): Promise<ChosenPlane> {
  if (mode === 'user') return { plane: undefined, reason: 'Set by --data-plane user.' };
  const found = await openPlane(components, options);
  if (found.plane === undefined && mode === 'kernel') {
    const advice = 'Next: remove the cause, or use --data-plane auto.';
    throw new TowpathError('kernel-unusable', `The kernel cannot forward for this relay. ${found.reason} ${advice}`, {
      kind: 'local',
    });
  }
  return found;
}

async function openPlane(
  components: KernelPlaneComponents,
  options: Omit<RelayPlaneOptions, 'form'>,
): Promise<ChosenPlane> {
  if (process.platform !== 'linux') return { plane: undefined, reason: 'This needs Linux.' };
  if (options.addresses.some(isUnspecified)) {
    return {
      plane: undefined,
      reason: 'The relay has no address of its own. Next: name its addresses instead of 0.0.0.0 or ::.',
    };
  }
  return openRelayPlane({ ...components, system: new NodeSystem() }, options);
}

/**
 * Finds the host's address that datagrams arrive at for a server that listens on all of them: the one that clients are told,
 * where the host has it, or its only one, or the one of the default route. Undefined when there is none.
 */
export async function arrivalAddress(
  network: Pick<Network, 'interfaces' | 'defaultRoute'>,
  { address, publicAddress }: { address: string; publicAddress: string },
): Promise<string | undefined> {
  if (!isUnspecified(address)) return address;
  const family = addressFamily(address) ?? 4;
  const own = network
    .interfaces()
    .filter((each) => each.family === family && !each.internal && !isLinkLocal(each.address))
    .map((each) => each.address);
  if (own.includes(publicAddress)) return publicAddress;
  if (own.length === 1) return own[0];
  return (await network.defaultRoute({ family }))?.source;
}

/** What a server says about its data plane at start; plain data, because workers send it. */
export interface PlaneReport {
  readonly plane: 'kernel' | 'user';
  readonly reason: string;
}

export function planeReport({ plane, reason }: ChosenPlane): PlaneReport {
  return { plane: plane === undefined ? 'user' : 'kernel', reason };
}

/** Says where relayed data passes, and why: a line for a person, or JSON. */
export function announcePlane(io: Io, json: boolean | undefined, { plane, reason }: PlaneReport): void {
  if (json) printJson(io, 'data-plane', { plane, reason });
  else io.out(`${'data'.padEnd(10)}through ${plane === 'kernel' ? 'the kernel' : 'this process'}. ${reason}`);
}

/** Of {@link kernelMetrics}, states of the moment. */
export const KERNEL_GAUGES: readonly string[] = ['usable', 'sessions', 'waiting'];

/** Counters under fixed names; zeros without a kernel. */
export function kernelMetrics(stats: PlaneStats | undefined): MetricTree {
  return {
    usable: stats === undefined ? 0 : 1,
    sessions: stats?.sessions ?? 0,
    waiting: stats?.waiting ?? 0,
    moved: stats?.moved ?? 0,
    failed: stats?.failed ?? 0,
    replaced: stats?.replaced ?? 0,
    packetsToPeers: stats?.packetsFromA ?? 0,
    bytesToPeers: stats?.bytesFromA ?? 0,
    packetsToClients: stats?.packetsFromB ?? 0,
    bytesToClients: stats?.bytesFromB ?? 0,
    droppedOverRate: stats?.packetsOverRate ?? 0,
    droppedOverQuota: stats?.packetsOverQuota ?? 0,
  };
}

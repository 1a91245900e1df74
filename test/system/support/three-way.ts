import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished, type Lab, type LabHost, NAT_KINDS, type NatKindName, says } from './lab.ts';

/** Network of one end of a pair: `open` has a public address. */
export type Place = 'open' | Exclude<NatKindName, 'restricted-cone'>;

export const PLACES: readonly Place[] = [
  'open',
  'full-cone',
  'port-restricted',
  'symmetric-sequential',
  'symmetric-random',
  'udp-blocked',
];

export const SERVER = '203.0.113.10';
export const UID = 'TEST-000001-BCDEF';

/** Result of one pair. */
export interface PairResult {
  client: Place;
  camera: Place;
  /** Kind of the path in use after `settleMs`: `p2p` (or `lan`) where a direct path was found, else `relay`. */
  kind: string;
  /** Kind of the first path. */
  firstKind: string;
  connectedMs: number;
  /** Bytes of the downloaded pictures, each verified by its end check. */
  bytes: number;
}

/** Endpoint-independent mapping on one side, and no random symmetric NAT behind a port-restricted one: direct must work. */
export function directExpected(client: Place, camera: Place): boolean {
  const pair = [client, camera];
  if (pair.includes('udp-blocked')) return false;
  const maps = (place: Place) => place === 'open' || place === 'full-cone' || place === 'port-restricted';
  if (!pair.some(maps)) return false;
  return !(pair.includes('symmetric-random') && pair.includes('port-restricted'));
}

/** A rendezvous and relay on the lab's internet. */
export async function startServer(lab: Lab, address: string = SERVER): Promise<LabHost> {
  const host = lab.host(`server${address.split('.').at(-1)}`, address);
  const server = host.towpath(['pppp', 'serve', '--address', address, '--ports', '32100,32101', '--json']);
  await says(server, '"relay"');
  return host;
}

/** A host in a place of the lab. */
export function hostAt(lab: Lab, place: Place, name: string, outside: string): LabHost {
  return place === 'open' ? lab.host(name, outside) : lab.nat(`${name}-nat`, outside, NAT_KINDS[place]).host(name);
}

/** Starts a camera and waits until it is online at every server. */
export async function startCamera(
  host: LabHost,
  { servers = [SERVER], more = [] }: { servers?: readonly string[]; more?: readonly string[] } = {},
): Promise<ChildProcess> {
  const args = ['camera', 'emulate', '--address', '0.0.0.0', '--search-port', '0', '--uid', UID];
  const camera = host.towpath([...args, '--servers', servers.join(','), ...more, '--json']);
  await says(camera, new RegExp(Array(servers.length).fill('"online"').join('[\\s\\S]*')), 15_000);
  return camera;
}

/** Connects to the camera, downloads, and returns the kind of path in use at the end. */
export async function measurePair(
  client: LabHost,
  places: { client: Place; camera: Place },
  settleS: number,
): Promise<PairResult> {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-pair-'));
  const env = { TOWPATH_HOME: join(folder, 'home') };
  try {
    const args = ['--servers', SERVER, '--json'];
    const connect = ['camera', 'connect', UID, ...args, '--settle', String(settleS)];
    const outcome = await finished(client.towpath(connect, env), 40_000);
    if (outcome.code !== 0) throw new Error(`${places.client} to ${places.camera}: ${outcome.stderr}${outcome.stdout}`);
    const { connectedMs, race, kind } = JSON.parse(outcome.stdout.trim().split('\n').at(-1) ?? '');
    const files = ['camera', 'download', UID, ...args, '-o', join(folder, 'pictures'), '--limit', '3'];
    const download = await finished(client.towpath(files, env), 60_000);
    const summary = JSON.parse(download.stdout.trim().split('\n').at(-1) ?? '');
    if (summary.saved !== 3)
      throw new Error(`${places.client} to ${places.camera}: ${download.stdout}${download.stderr}`);
    const index = JSON.parse(readFileSync(join(folder, 'pictures', 'index.json'), 'utf8'));
    const bytes = index.items.reduce((sum: number, item: { bytes: number }) => sum + item.bytes, 0);
    return { ...places, kind, firstKind: race.mode, connectedMs, bytes };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

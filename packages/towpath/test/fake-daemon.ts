import { mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import type { Camera, DaemonStatus, Party, Peer, PeerDetail } from '@towpath/dashboard/api';
import { type CommandLine, components } from './command-line.ts';

const AT = '2026-05-01T12:00:00.000Z';

/** A member as the daemon describes it. */
export function peerOf(name: string, changes: Partial<Peer> = {}): Peer {
  const reason = { code: 'first', text: 'the first verified path' };
  return {
    id: Buffer.from(name.padEnd(16, '.')).toString('hex'),
    name,
    address: '10.66.0.9',
    online: true,
    status: 'connected',
    reason,
    strategy: 'direct',
    path: { id: 'p1', kind: 'p2p', endpoint: '203.0.113.42:40000', relay: null, since: AT },
    pathReason: reason,
    dataPlane: 'splice',
    dataPlaneReason: reason,
    latencyMs: 12,
    lossRatio: 0,
    mtuBytes: 1_420,
    receivedBytes: 1_000,
    sentBytes: 2_000,
    connectedAt: AT,
    lastHandshakeAt: AT,
    ...changes,
  };
}

/** A camera as the daemon describes it. */
export function cameraOf(name: string, changes: Partial<Camera> = {}): Camera {
  return {
    name,
    target: '192.168.43.1',
    via: null,
    state: 'connected',
    since: AT,
    problem: null,
    outputProblems: [],
    nextTryAt: null,
    path: { kind: 'lan', endpoint: '192.168.43.1:40611', rttMs: 3 },
    race: null,
    device: null,
    pictures: { onCard: 3, saved: 3, missing: 0, bytes: 900, newestAt: AT, checkedAt: AT },
    retention: { keepDays: null, keepBytes: null, deleteFromCard: 'never' },
    ...changes,
  };
}

export interface FakeParty {
  /** @default made from the name */
  readonly id?: string;
  readonly name: string;
  readonly peers: readonly Peer[];
  readonly filter?: Party['filter'];
}

/** Answers on the socket of a commandLine as a daemon with these parties and cameras. */
export async function fakeDaemon(
  commandLine: CommandLine,
  parties: readonly FakeParty[],
  cameras: readonly Camera[] = [],
  verdict: PeerDetail['why']['verdict'] = 'direct',
): Promise<AsyncDisposable> {
  const folder = commandLine.file('config');
  mkdirSync(folder, { recursive: true });
  const idOf = (name: string) =>
    parties.find((party) => party.name === name)?.id ?? Buffer.from(`party-${name}`.padEnd(16, '.')).toString('hex');
  const answer = (path: string): unknown => {
    if (path === '/v1/cameras') return cameras;
    if (path === '/v1/status') return statusOf(parties, cameras, idOf);
    const [, party, member, ping] = /^\/v1\/parties\/(\w+)\/peers\/([^/]+)(\/ping)?$/.exec(path) ?? [];
    const found = parties.find(({ name }) => idOf(name) === party);
    const peer = found?.peers.find(({ name, id }) => name === member || id === member);
    if (found === undefined || peer === undefined) return undefined;
    if (ping !== undefined) return { rttMs: 4.2 };
    const detail: PeerDetail = {
      party: idOf(found.name),
      peer,
      why: { verdict, reason: peer.pathReason, summary: `${peer.name} of ${found.name}.`, details: [], next: [] },
      paths: [
        { id: 'p1', kind: 'p2p', to: '203.0.113.42:40000', role: 'current', health: 'good', rttMs: 12, lossRatio: 0 },
        {
          id: 'p2',
          kind: 'relay',
          to: '198.51.100.7:3478',
          role: 'standby',
          health: 'good',
          rttMs: 40,
          lossRatio: 0.1,
        },
      ],
      log: (['switch', 'failure', 'failure', 'failure'] as const).map((what) => ({
        at: AT,
        what,
        label: '203.0.113.42:40000',
        reason: peer.pathReason,
      })),
      races: [],
      latency: [],
      timeline: [],
    };
    return detail;
  };
  const server = createServer((request, response) => {
    // It is told to end, and a test decides whether it does.
    const isDown = request.method === 'POST' && request.url === '/v1/down';
    const body = isDown ? {} : answer(decodeURIComponent(request.url ?? ''));
    response.statusCode = body === undefined ? 404 : 200;
    response.end(JSON.stringify(body ?? { error: { code: 'not-found', message: 'Nothing here.' } }));
  });
  await new Promise<void>((resolve) => {
    server.listen(join(folder, 'towpath.sock'), resolve);
  });
  return {
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
      rmSync(join(folder, 'towpath.sock'), { force: true });
    },
  };
}

function statusOf(
  parties: readonly FakeParty[],
  cameras: readonly Camera[],
  idOf: (name: string) => string,
): DaemonStatus {
  return {
    version: 1,
    program: '0.1.0',
    run: 'r',
    sequence: 0,
    host: 'here',
    startedAt: new Date(components.clock.wallTime()).toISOString(),
    parties: parties.map(({ name, peers, filter }) => ({
      id: idOf(name),
      name,
      state: 'up',
      problem: null,
      servers: [],
      connected: true,
      address: '10.66.0.1',
      interface: { name: 'towpath0', backend: 'kernel', splice: true },
      members: [],
      offers: [],
      accepts: [],
      peers: [...peers],
      ...(filter && { filter }),
    })),
    cameras: [...cameras],
    problems: [],
  };
}

import type { LatencySample, PathEvent, PathKind, PathSpan, Peer, PeerDetail, Race } from '@towpath/dashboard/api';
import type { ConnectionStatus, PathLogEntry, PeerConnection } from '@towpath/mesh';
import { racesOf } from './races.ts';
import { reasonOf } from './reasons.ts';
import { explain } from './why.ts';

/** Two hours of samples every 5 s. */
const MAX_SAMPLES = 1_440;
const MAX_SPANS = 200;
const MAX_LOG = 200;

/** What is remembered of one peer while the daemon runs. */
export class PeerRecord {
  readonly connection: PeerConnection;
  readonly #latency: LatencySample[] = [];
  readonly #spans: PathSpan[] = [];

  constructor(connection: PeerConnection, nowMs: number) {
    this.connection = connection;
    this.pathChanged(connection.describe(), nowMs);
  }

  get peer(): Peer {
    return describePeer(this.connection.describe(), this.#spans.at(-1)?.fromMs);
  }

  /** Takes one reading of the latency. */
  sample(nowMs: number): LatencySample {
    const { status, latencyMs, path } = this.connection.describe();
    const reached = status === 'connected' || status === 'degraded';
    const sample = { atMs: nowMs, rttMs: reached ? (latencyMs ?? null) : null, kind: path?.kind ?? null };
    this.#latency.push(sample);
    if (this.#latency.length > MAX_SAMPLES) this.#latency.shift();
    return sample;
  }

  /** Begins a new span when the current path is another one. */
  pathChanged({ path, endpoint, pathReason }: ConnectionStatus, nowMs: number): void {
    const last = this.#spans.at(-1);
    const label = path === undefined ? 'no path' : `${endpoint ?? path.id}${path.relay ? ` via ${path.relay}` : ''}`;
    const kind: PathKind | null = path?.kind ?? null;
    if (last !== undefined && last.kind === kind && last.label === label) return;
    if (last !== undefined) last.toMs = nowMs;
    this.#spans.push({ fromMs: nowMs, toMs: null, kind, label, reason: reasonOf(pathReason) });
    if (this.#spans.length > MAX_SPANS) this.#spans.shift();
  }

  get races(): Race[] {
    return racesOf(this.connection.paths.log());
  }

  detail(party: string): PeerDetail {
    const { paths } = this.connection;
    const status = this.connection.describe();
    const { peer } = this;
    const log = paths.log();
    return {
      party,
      peer,
      why: explain(status, log),
      paths: paths.status().map(({ id, kind, label, role, health, rttMs, lossRatio }) => ({
        id,
        kind,
        to: label,
        role,
        health,
        rttMs: rttMs ?? null,
        lossRatio,
      })),
      log: log.slice(-MAX_LOG).map(pathEvent),
      races: racesOf(log),
      latency: [...this.#latency],
      timeline: this.#spans.map((span) => ({ ...span })),
    };
  }
}

/** The state of a peer as the API has it. */
function describePeer(status: ConnectionStatus, sinceMs: number | undefined): Peer {
  const { path, endpoint } = status;
  return {
    id: status.peerId,
    name: status.name,
    address: status.virtualIp,
    online: status.online,
    status: status.status,
    reason: reasonOf(status.reason),
    strategy: status.strategy ?? null,
    path:
      path === undefined
        ? null
        : {
            id: path.id,
            kind: path.kind,
            endpoint: endpoint ?? '',
            relay: path.relay ?? null,
            since: sinceMs === undefined ? null : new Date(sinceMs).toISOString(),
          },
    pathReason: reasonOf(status.pathReason),
    policies: { own: status.policy, peer: status.peerPolicy ?? null },
    ...refusal(status),
    relayReason: status.relayReason === undefined ? null : reasonOf(status.relayReason),
    dataPlane: status.dataPlane,
    dataPlaneReason: reasonOf(status.dataPlaneReason),
    latencyMs: status.latencyMs ?? null,
    lossRatio: Math.min(1, Math.max(0, status.lossRatio)),
    mtuBytes: status.mtuBytes,
    receivedBytes: status.receivedBytes,
    sentBytes: status.sentBytes,
    connectedAt: status.connectedAt ?? null,
    lastHandshakeAt: status.lastHandshakeAt ?? null,
  };
}

/** Whose policy forbids the paths: this node's first, which a person here can change. */
function refusal({ refusedBy, isRefusedByPeer }: ConnectionStatus): Pick<Peer, 'refusedBy'> {
  if (refusedBy !== undefined) return { refusedBy: 'own' };
  return isRefusedByPeer ? { refusedBy: 'peer' } : {};
}

export function pathEvent({ atMs, what, label, reason }: PathLogEntry): PathEvent {
  return { at: new Date(atMs).toISOString(), what, label, reason: reasonOf(reason) };
}

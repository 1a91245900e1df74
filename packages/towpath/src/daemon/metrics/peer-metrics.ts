import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client';
import type { Clock } from '@towpath/core';
import type { Race } from '@towpath/dashboard/api';
import type { ConnectionStatus, PeerChangeEvent } from '@towpath/mesh';

/** What counts the changes of peers. */
export interface PeerObserver {
  changed(party: string, what: PeerChangeEvent['what'], reason: string, status: ConnectionStatus): void;
  sampled(party: string, status: ConnectionStatus, races: readonly Race[]): void;
  removed(party: string, status: ConnectionStatus): void;
}

/** From a LAN's race to one that waits for a relay. */
const RACE_BUCKETS_S = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

interface Seen {
  atMs: number;
  pathClass: string;
  dataPlane: string;
  receivedBytes: number;
  sentBytes: number;
  /** Start of the last race that was counted. */
  race: string;
}

/** Counts what peers do. Labels are names of parties and peers, bounded by the members of the parties. */
export class PeerMetrics implements PeerObserver {
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();
  readonly #race: Histogram<'kind' | 'outcome'>;
  readonly #pathSeconds: Counter<'class' | 'data_plane'>;
  readonly #switches: Counter<'reason'>;
  readonly #bytes: Counter<'party' | 'peer' | 'direction'>;
  readonly #echoes: Counter<'result'>;
  readonly #latency: Gauge<'party' | 'peer'>;
  readonly #loss: Gauge<'party' | 'peer'>;
  readonly #status: Gauge<'party' | 'peer' | 'status'>;

  constructor({ clock, registry }: { clock: Clock; registry: Registry }) {
    this.#clock = clock;
    const registers = [registry];
    this.#race = new Histogram({
      name: 'towpath_race_seconds',
      help: 'Time of a race to a peer, by the kind of path that won.',
      labelNames: ['kind', 'outcome'],
      buckets: RACE_BUCKETS_S,
      registers,
    });
    this.#pathSeconds = new Counter({
      name: 'towpath_path_seconds_total',
      help: 'Time that peers were reached, by class of path and data plane.',
      labelNames: ['class', 'data_plane'],
      registers,
    });
    this.#switches = new Counter({
      name: 'towpath_path_switches_total',
      help: 'Changes of the current path, by reason.',
      labelNames: ['reason'],
      registers,
    });
    this.#bytes = new Counter({
      name: 'towpath_peer_bytes_total',
      help: 'Bytes that WireGuard carried to and from a peer.',
      labelNames: ['party', 'peer', 'direction'],
      registers,
    });
    this.#echoes = new Counter({
      name: 'towpath_echo_samples_total',
      help: 'Readings of the echo through the tunnel, every 5 s, by result.',
      labelNames: ['result'],
      registers,
    });
    this.#latency = new Gauge({
      name: 'towpath_peer_latency_seconds',
      help: 'Smoothed round trip through the tunnel.',
      labelNames: ['party', 'peer'],
      registers,
    });
    this.#loss = new Gauge({
      name: 'towpath_peer_echo_loss_ratio',
      help: 'Share of lost echoes.',
      labelNames: ['party', 'peer'],
      registers,
    });
    this.#status = new Gauge({
      name: 'towpath_peer_status',
      help: '1 for the status that a peer has.',
      labelNames: ['party', 'peer', 'status'],
      registers,
    });
  }

  changed(party: string, what: PeerChangeEvent['what'], reason: string, status: ConnectionStatus): void {
    this.#account(party, status);
    if (what === 'path' && status.path !== undefined) this.#switches.inc({ reason });
  }

  sampled(party: string, status: ConnectionStatus, races: readonly Race[]): void {
    const seen = this.#account(party, status);
    const labels = { party, peer: status.name };
    const reached = status.status === 'connected' || status.status === 'degraded';
    this.#echoes.inc({ result: reached ? 'answered' : 'lost' });
    if (status.latencyMs === undefined) this.#latency.remove(labels);
    else this.#latency.set(labels, status.latencyMs / 1_000);
    this.#loss.set(labels, status.lossRatio);
    for (const each of STATUSES) this.#status.set({ ...labels, status: each }, each === status.status ? 1 : 0);
    for (const race of races) {
      if (race.running || race.startedAt <= seen.race) continue;
      seen.race = race.startedAt;
      const winner = race.attempts.find(({ id }) => id === race.winner);
      this.#race.observe(
        { kind: winner?.kind ?? 'none', outcome: winner === undefined ? 'failed' : 'won' },
        race.elapsedMs / 1_000,
      );
    }
  }

  removed(party: string, status: ConnectionStatus): void {
    this.#account(party, status);
    this.#seen.delete(`${party}/${status.peerId}`);
    const labels = { party, peer: status.name };
    this.#latency.remove(labels);
    this.#loss.remove(labels);
    for (const each of STATUSES) this.#status.remove({ ...labels, status: each });
  }

  /** Adds up time and bytes since the last call for this peer. */
  #account(party: string, status: ConnectionStatus): Seen {
    const key = `${party}/${status.peerId}`;
    const nowMs = this.#clock.now();
    const reached = status.status === 'connected' || status.status === 'degraded';
    const { receivedBytes, sentBytes } = status;
    const now = {
      atMs: nowMs,
      pathClass: reached ? (status.strategy ?? 'none') : 'none',
      dataPlane: reached ? status.dataPlane : 'none',
      receivedBytes,
      sentBytes,
    };
    const before = this.#seen.get(key);
    if (before !== undefined) {
      this.#pathSeconds.inc(
        { class: before.pathClass, data_plane: before.dataPlane },
        Math.max(0, nowMs - before.atMs) / 1_000,
      );
      const labels = { party, peer: status.name };
      // WireGuard's counters begin at 0 when the interface is made again.
      this.#bytes.inc({ ...labels, direction: 'received' }, growth(before.receivedBytes, receivedBytes));
      this.#bytes.inc({ ...labels, direction: 'sent' }, growth(before.sentBytes, sentBytes));
    }
    const seen = { ...now, race: before?.race ?? '' };
    this.#seen.set(key, seen);
    return seen;
  }
}

const STATUSES: readonly ConnectionStatus['status'][] = ['connecting', 'connected', 'degraded', 'failed'];

function growth(before: number, now: number): number {
  return now >= before ? now - before : now;
}

import { Counter, Gauge, Registry } from '@prometheus-io/client';
import type { Clock } from '@towpath/core';
import type { Camera, Party } from '@towpath/dashboard/api';
import { PeerMetrics } from './peer-metrics.ts';

/** What the gauges are read from, at each reading of the page. */
export interface MetricsSource {
  parties(): readonly Party[];
  cameras(): readonly Camera[];
  subscribers(): number;
}

const CAMERA_STATES: readonly Camera['state'][] = [
  'connecting',
  'connected',
  'reconnecting',
  'waiting',
  'asleep',
  'stopped',
];

/** The Prometheus page of the daemon. */
export class DaemonMetrics {
  readonly peers: PeerMetrics;
  readonly #registry = new Registry();

  constructor(components: { clock: Clock; source: MetricsSource }) {
    const { clock, source } = components;
    this.peers = new PeerMetrics({ clock, registry: this.#registry });
    this.#gauges(source);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  page(): Promise<string> {
    return this.#registry.metrics();
  }

  #gauges(source: MetricsSource): void {
    const gauge = <Label extends string>(
      name: string,
      help: string,
      labelNames: readonly Label[],
      read: (set: (labels: Record<Label, string>, value: number) => void) => void,
    ) => {
      new Gauge({
        name: `towpath_${name}`,
        help,
        labelNames: [...labelNames],
        registers: [this.#registry],
        collect() {
          // Cameras and parties come and go.
          this.reset();
          read((labels, value) => this.set(labels as never, value));
        },
      });
    };
    gauge('party_up', '1 when the party is up.', ['party'], (set) => {
      for (const { name, state } of source.parties()) set({ party: name }, state === 'up' ? 1 : 0);
    });
    gauge('party_server_connected', '1 when a control server is connected.', ['party'], (set) => {
      for (const { name, connected } of source.parties()) set({ party: name }, connected ? 1 : 0);
    });
    gauge('camera_state', '1 for the state that a camera has.', ['camera', 'state'], (set) => {
      for (const { name, state } of source.cameras())
        for (const each of CAMERA_STATES) set({ camera: name, state: each }, each === state ? 1 : 0);
    });
    gauge('camera_battery_ratio', 'Battery as the camera said last, 0 to 1.', ['camera'], (set) => {
      for (const { name, device } of source.cameras())
        if (device?.battery) set({ camera: name }, device.battery.percent / 100);
    });
    gauge('camera_card_free_bytes', 'Free space of the card as the camera said last.', ['camera'], (set) => {
      for (const { name, device } of source.cameras())
        if (device?.card) set({ camera: name }, device.card.freeMb * 1e6);
    });
    gauge('camera_pictures', 'Pictures and videos, by place.', ['camera', 'place'], (set) => {
      for (const { name, pictures } of source.cameras()) {
        set({ camera: name, place: 'disk' }, pictures.saved);
        if (pictures.onCard !== null) set({ camera: name, place: 'card' }, pictures.onCard);
        if (pictures.missing !== null) set({ camera: name, place: 'missing' }, pictures.missing);
      }
    });
    gauge('camera_pictures_bytes', 'Size of the pictures on disk.', ['camera'], (set) => {
      for (const { name, pictures } of source.cameras()) set({ camera: name }, pictures.bytes);
    });
    gauge(
      'camera_race_seconds',
      'Time of the last race to a camera, by the kind of path that won.',
      ['camera', 'kind'],
      (set) => {
        for (const { name, race } of source.cameras()) {
          const winner = race?.attempts.find(({ id }) => id === race.winner);
          if (race && winner) set({ camera: name, kind: winner.kind }, race.elapsedMs / 1_000);
        }
      },
    );
    gauge('event_subscribers', 'Pages and programs that follow the events.', [], (set) =>
      set({}, source.subscribers()),
    );
    gauge('memory_bytes', 'Resident memory of the daemon.', [], (set) => set({}, process.memoryUsage.rss()));
    this.#processorTime();
  }

  /** A counter, although it is read: the system counts it. */
  #processorTime(): void {
    let counted = 0;
    new Counter({
      name: 'towpath_cpu_seconds_total',
      help: 'Processor time of the daemon since its start.',
      registers: [this.#registry],
      collect() {
        const { user, system } = process.cpuUsage();
        const seconds = (user + system) / 1e6;
        this.inc(seconds - counted);
        counted = seconds;
      },
    });
  }
}

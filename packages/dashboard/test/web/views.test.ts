import { describe, expect, test } from 'vitest';
import type { MediaDay, MediaItem } from '../../src/api/cameras.ts';
import type { LatencySample, PathSpan } from '../../src/api/peers.ts';
import {
  cameraTone,
  cameraWords,
  outputWords,
  cardRatio,
  dayWords,
  itemLabel,
  lengthWords,
  retentionWords,
  signalWords,
  wallTime,
} from '../../src/web/lib/cameras.ts';
import { countItem, GalleryDays, galleryColumns, galleryRows, uncountItems } from '../../src/web/lib/gallery-days.ts';
import { latencyFigures, latencySeries, latencySummary } from '../../src/web/lib/latency.ts';
import { LiveStats } from '../../src/web/lib/live-stats.ts';
import { layOutMap, type MapPeer, radiusOf } from '../../src/web/lib/map-layout.ts';
import { neighbours } from '../../src/web/lib/neighbours.ts';
import { countPeers, filterPeers, statusWords, toneOf } from '../../src/web/lib/peers.ts';
import { sparkline } from '../../src/web/lib/sparkline.ts';
import { visibleSpans } from '../../src/web/lib/timeline.ts';
import { scaleTicks, waterfallBars } from '../../src/web/lib/waterfall.ts';
import { FAKE_NOW, FakeData } from '../fake-data.ts';

const data = new FakeData({ peers: 200, pictures: 5_000 });
const plain = (text: string): string => text.replaceAll('\u00a0', ' ');

describe('the map of a party (C13)', () => {
  const peer = (name: string, latencyMs: number | undefined, relay?: string): MapPeer => ({
    id: name,
    name,
    latencyMs,
    reached: latencyMs !== undefined,
    relay,
  });
  const distance = ({ x, y }: { x: number; y: number }): number => Math.hypot(x, y);

  test('the distance grows with the latency; who is not reached stands on the rim', () => {
    const { peers, rim } = layOutMap([peer('a', 1), peer('b', 20), peer('c', 300), peer('d', undefined)], []);
    const [a, b, c, d] = peers.map(distance);
    expect(a).toBeLessThan(b!);
    expect(b).toBeLessThan(c!);
    expect(c).toBeLessThan(d!);
    expect(d).toBeCloseTo(rim, 0);
  });

  test('a peer keeps its direction when its latency changes', () => {
    const angles = (ms: number) =>
      layOutMap([peer('a', 5), peer('b', ms), peer('c', 9)], []).peers.map(({ angle }) => angle);
    expect(angles(400)).toEqual(angles(2));
  });

  test('peers behind one relay are neighbours, and the relay stands between them and the centre', () => {
    const layout = layOutMap(
      [peer('a', 60, 'r'), peer('b', 10), peer('c', 80, 'r'), peer('d', 12)],
      [
        { id: 'r', latencyMs: undefined },
        { id: 'unused', latencyMs: 4 },
      ],
    );
    expect(layout.peers.map(({ item }) => item.name)).toEqual(['b', 'd', 'a', 'c']);
    expect(layout.relays).toHaveLength(1);
    const users = layout.peers.filter(({ item }) => item.relay === 'r');
    expect(distance(layout.relays[0]!)).toBeLessThan(Math.min(...users.map(distance)));
  });

  test('200 peers fit without names; odd numbers break nothing', () => {
    const many = layOutMap(
      Array.from({ length: 200 }, (_one, index) => peer(`p${index}`, index)),
      [],
    );
    expect(many.labelled).toBe(false);
    for (const { x, y } of many.peers) {
      expect(Math.abs(x)).toBeLessThan(many.halfWidth);
      expect(Math.abs(y)).toBeLessThan(many.halfHeight);
    }
    expect(radiusOf(-5)).toBe(radiusOf(0));
    expect(radiusOf(1e9)).toBe(radiusOf(undefined));
    expect(layOutMap([], []).peers).toEqual([]);
  });
});

describe('peers in words and numbers', () => {
  test('every state has its words and its colour', () => {
    const [direct, relayed, away] = ['lan', 'relay', undefined].map(
      (kind) => data.peers.find(({ path }) => path?.kind === kind)!,
    );
    expect([direct, relayed, away].map((peer) => statusWords(peer!))).toEqual(['Local network', 'Relayed', 'Offline']);
    expect([direct, relayed, away].map((peer) => toneOf(peer!))).toEqual(['direct', 'relay', 'idle']);
    expect(statusWords({ ...relayed!, status: 'degraded' })).toBe('Relayed, slow');
    expect(statusWords({ ...direct!, status: 'connecting' })).toBe('Connecting');
    const failed = { ...away!, online: true };
    expect([statusWords(failed), toneOf(failed)]).toEqual(['Not reached', 'bad']);
  });

  test('counts and filters agree, and a search finds names and addresses', () => {
    const counts = countPeers(data.peers);
    expect(filterPeers(data.peers, 'direct', '')).toHaveLength(counts.direct);
    expect(filterPeers(data.peers, 'relayed', '')).toHaveLength(counts.relayed);
    expect(filterPeers(data.peers, 'away', '')).toHaveLength(counts.away);
    expect(counts.direct + counts.relayed + counts.away).toBe(200);
    expect(counts.medianMs).toBeGreaterThan(0);
    expect(filterPeers(data.peers, 'all', 'ANNA').map(({ name }) => name)).toEqual(['anna-laptop']);
    expect(filterPeers(data.peers, 'all', data.peers[150]!.address)).toContain(data.peers[150]);
    expect(countPeers([])).toEqual({ direct: 0, relayed: 0, away: 0, medianMs: undefined });
  });
});

describe('a race as a waterfall', () => {
  test('bars lie within the race, a bar that never began has no width, and the winner is marked', () => {
    const race = { ...data.detail('peer-005')!.races[0]! };
    race.attempts = [
      ...race.attempts,
      { ...race.attempts[0]!, id: 'never', state: 'pending', startedMs: null, endedMs: null },
    ];
    const bars = waterfallBars(race);
    for (const { left, width } of bars) {
      expect(left).toBeGreaterThanOrEqual(0);
      expect(left + width).toBeLessThanOrEqual(100.9);
    }
    expect(bars.at(-1)?.width).toBe(0);
    expect(bars.filter(({ won }) => won).map(({ attempt }) => attempt.id)).toEqual([race.winner]);
  });

  test('a running attempt lasts until now, and times beyond the race are cut', () => {
    const base = data.detail('peer-005')!.races[0]!;
    const attempt = { ...base.attempts[0]!, state: 'running', startedMs: 100, endedMs: null } as const;
    const late = { ...base.attempts[0]!, id: 'late', startedMs: 900, endedMs: 9_000 };
    const [running, cut] = waterfallBars({ ...base, elapsedMs: 1_000, attempts: [attempt, late] });
    expect([running!.left, running!.width]).toEqual([10, 90]);
    expect([cut!.left, cut!.width]).toEqual([90, 10]);
  });

  test.each([1, 48, 412, 1_460, 10_000, 29_999])('a scale of %d ms has few round marks', (elapsedMs) => {
    const ticks = scaleTicks(elapsedMs);
    expect(ticks.length).toBeGreaterThanOrEqual(2);
    expect(ticks.length).toBeLessThanOrEqual(6);
    expect(ticks[0]).toEqual({ ms: 0, percent: 0 });
    expect(ticks.at(-1)!.percent).toBeLessThan(100);
  });
});

describe('latency', () => {
  const samples: LatencySample[] = [
    { atMs: 1, rttMs: 10, kind: 'p2p' },
    { atMs: 2, rttMs: null, kind: null },
    { atMs: 3, rttMs: 90, kind: 'relay' },
    { atMs: 4, rttMs: 20, kind: 'lan' },
  ];

  test('one line for direct paths, one for relays, gaps where there was none', () => {
    expect(latencySeries(samples)).toEqual([
      [1, 2, 3, 4],
      [10, null, null, 20],
      [null, null, 90, null],
    ]);
    expect(latencyFigures(samples)).toEqual({ medianMs: 20, p95Ms: 90, missedRatio: 0.25 });
    expect(plain(latencySummary(samples))).toBe('Latency chart: median 20 ms, 95 percent below 90 ms.');
    expect(latencyFigures([samples[1]!])).toBeUndefined();
  });

  test('a sparkline lifts its pen at a gap, and does not make mountains of noise', () => {
    expect(sparkline([10, null, 90, 20], 64, 20).match(/M/g)).toHaveLength(2);
    const heights = [...sparkline([10, 10.1, 10], 64, 20).matchAll(/ ([\d.]+)/g)].map(([, y]) => Number(y));
    expect(Math.max(...heights) - Math.min(...heights)).toBeLessThan(2);
    expect(sparkline([5, null], 64, 20)).toBe('');
  });

  test('the stripe of paths shows what lies in its time', () => {
    const reason = { code: 'first', text: '' };
    const spans: PathSpan[] = [
      { fromMs: 0, toMs: 50, kind: 'relay', label: 'old', reason },
      { fromMs: 50, toMs: 150, kind: 'relay', label: 'r', reason },
      { fromMs: 150, toMs: null, kind: 'p2p', label: 'd', reason },
    ];
    expect(visibleSpans(spans, 100, 200).map(({ span, left, width }) => [span.label, left, width])).toEqual([
      ['r', 0, 50],
      ['d', 50, 50],
    ]);
  });
});

describe('the gallery (B13)', () => {
  const days = data.days('feeder');
  const items = (day: string): MediaItem[] => data.media.get('feeder')!.filter((item) => item.day === day);

  test('rows hold every picture once, newest day first, and none is longer than its columns', () => {
    const rows = galleryRows(days, 5);
    const counted = rows.reduce((sum, row) => sum + (row.type === 'pictures' ? row.count : 0), 0);
    expect(counted).toBe(5_000);
    for (const row of rows) if (row.type === 'pictures') expect(row.count).toBeLessThanOrEqual(5);
    const order = rows.flatMap((row) => (row.type === 'day' ? [row.day.day] : []));
    expect(order).toEqual(order.toSorted().toReversed());
    expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
    expect(galleryRows([{ day: '2026-05-01', photos: 0, videos: 0 }], 5)).toEqual([]);
  });

  test('columns fill the width', () => {
    for (const width of [320, 358, 700, 1_008, 1_180]) {
      const { columns, tilePx } = galleryColumns(width, 6, 196);
      expect(columns * tilePx + (columns - 1) * 6).toBeCloseTo(width);
      expect(columns).toBeGreaterThanOrEqual(2);
    }
  });

  test('held pictures are bounded: days that were not looked at for longest are forgotten', () => {
    let held = new GalleryDays(new Map(), 500);
    for (const { day } of days) {
      held = held.with(day, items(day));
      expect(held.get(day)).toBeDefined();
    }
    expect(held.size).toBeLessThanOrEqual(500);
    expect(held.get(days[0]!.day)).toBeUndefined();
  });

  test('a new picture takes its place, a changed one keeps it, a removed one leaves it', () => {
    const { day } = days[0]!;
    const [newest, ...rest] = items(day);
    const held = new GalleryDays().with(day, rest);
    expect(held.withItem(newest!).get(day)?.[0]).toBe(newest);
    const saved = { ...rest[2]!, saved: true, bytes: 7 };
    expect(held.withItem(saved).get(day)?.[2]).toBe(saved);
    expect(held.without(new Set([rest[0]!.id])).get(day)).toEqual(rest.slice(1));
    expect(held.pick(new Set([rest[0]!.id, 'unknown']))).toEqual([rest[0]]);
    expect(held.withItem({ ...newest!, day: '2001-01-01' })).toBe(held);
  });

  test('days are counted up and down', () => {
    const start: MediaDay[] = [
      { day: '2026-05-02', photos: 1, videos: 0 },
      { day: 'unknown', photos: 1, videos: 0 },
    ];
    const up = countItem(countItem(start, { day: '2026-05-02', kind: 'video' }), { day: '2026-05-03', kind: 'photo' });
    expect(up).toEqual([
      { day: '2026-05-03', photos: 1, videos: 0 },
      { day: '2026-05-02', photos: 1, videos: 1 },
      { day: 'unknown', photos: 1, videos: 0 },
    ]);
    expect(
      uncountItems(up, [
        { day: '2026-05-03', kind: 'photo' },
        { day: '2026-05-02', kind: 'video' },
      ]),
    ).toEqual(start);
  });

  test('neighbours lie across days, and days that are needed are named', () => {
    const [first, second] = [days[0]!.day, days[1]!.day];
    const last = items(first).at(-1)!;
    const half = new GalleryDays().with(first, items(first));
    expect(neighbours(days, half, first, last.id)).toMatchObject({ item: last, after: undefined, missing: [second] });
    const both = half.with(second, items(second));
    expect(neighbours(days, both, first, last.id)).toMatchObject({ after: items(second)[0], missing: [] });
    expect(neighbours(days, both, second, items(second)[0]!.id).before).toBe(last);
    expect(neighbours(days, both, first, 'gone')).toMatchObject({ item: undefined, read: true, missing: [] });
    expect(neighbours(days, new GalleryDays(), first, last.id)).toMatchObject({ read: false, missing: [first] });
  });
});

describe('cameras in words', () => {
  const [feeder, gate, pond] = data.cameras;

  test('what fails at an output is said without the name of its camera, which is beside it', () => {
    const says = (message: string) => outputWords({ name: 'feeder' }, { message });
    expect(says('feeder: webhook https://nas/ failed: refused.')).toBe('Webhook https://nas/ failed: refused.');
    expect(says('feeder2: stopped.')).toBe('feeder2: stopped.');
  });

  test('state, signal, card and retention', () => {
    expect([feeder, gate, pond].map((camera) => cameraWords(camera!))).toEqual([
      'Connected',
      'Not reached',
      'Connecting',
    ]);
    expect([feeder, gate, pond].map((camera) => cameraTone(camera!))).toEqual(['direct', 'bad', 'idle']);
    expect([-50, -61, -75, -90].map(signalWords)).toEqual(['excellent', 'good', 'fair', 'weak']);
    expect([cardRatio({ totalMb: 100, freeMb: 25 }), cardRatio({ totalMb: 0, freeMb: 0 })]).toEqual([0.75, 0]);
    const bytes = (value: number): string => `${value / 1e9} GB`;
    expect(retentionWords(feeder!.retention, bytes)).toBe('90 days, at most 20 GB');
    expect(retentionWords(pond!.retention, bytes)).toBe('for ever');
  });

  test('the wall time of the camera counts, whatever the zone of the reader', () => {
    expect(wallTime('2026-05-14T18:17:00+02:00')).toBe('18:17');
    expect(dayWords('2026-05-14')).toBe('Thursday, 14 May 2026');
    expect([dayWords('unknown'), dayWords('2026-99-99')]).toEqual(['Without a date', 'Without a date']);
    expect(itemLabel({ kind: 'video', name: '100/7', takenAt: null })).toBe('Video 100/7');
    expect([lengthWords(10_000), lengthWords(61_400)]).toEqual(['0:10', '1:01']);
  });
});

describe('figures of a live view', () => {
  test('the delay counts from the daemon’s time stamp where the clocks agree, and from the arrival where not', () => {
    const same = new LiveStats();
    const other = new LiveStats();
    for (let frame = 0; frame < 40; frame++) {
      const wallMs = FAKE_NOW + frame * 100;
      same.shown(same.arrived((wallMs - 60) * 1_000, 12_500, wallMs), wallMs + 20);
      other.shown(other.arrived(frame * 66_000, 12_500, wallMs), wallMs + 20);
    }
    expect(same.figures()).toMatchObject({
      delayMs: 80,
      endToEnd: true,
      framesPerSecond: 10,
      bitsPerSecond: 1_000_000,
    });
    expect(other.figures()).toMatchObject({ delayMs: 20, endToEnd: false });
    expect(new LiveStats().figures().delayMs).toBeUndefined();
  });
});

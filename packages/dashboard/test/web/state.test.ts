import { describe, expect, test } from 'vitest';
import type { OutputProblem } from '../../src/api/cameras.ts';
import type { DaemonEvent } from '../../src/api/events.ts';
import type { Peer } from '../../src/api/peers.ts';
import { Bounded } from '../../src/web/lib/bounded.ts';
import {
  initialState,
  MAX_DETAIL_EVENTS,
  MAX_DETAIL_SAMPLES,
  MAX_DOWNLOADS,
  MAX_LOG_ENTRIES,
  MAX_NOTICES,
  MAX_RECENT_SAMPLES,
  type PageState,
  peerKey,
  reduce,
} from '../../src/web/lib/state.ts';
import { FAKE_NOW, FAKE_PARTY, FakeData } from '../fake-data.ts';

const data = new FakeData();
const start = (): PageState => initialState(data.status(0, 'run-1'));
const apply = (state: PageState, ...events: DaemonEvent[]): PageState =>
  reduce(state, { type: 'events', events, atMs: FAKE_NOW });
const first = data.peers[0]!;
const peersOf = (state: PageState): readonly Peer[] => state.peers.get(FAKE_PARTY) ?? [];

describe('what the page knows (C13)', () => {
  test('a status answer gives parties, peers in the order of names, and cameras', () => {
    const state = start();
    expect(state.parties.map(({ name }) => name)).toEqual(['Lakeside']);
    const names = peersOf(state).map(({ name }) => name);
    expect(names).toEqual(names.toSorted());
    expect(state.cameras.map(({ name }) => name)).toEqual(['feeder', 'north-gate', 'pond']);
  });

  test('a peer that changes is replaced; the others, and other parts, keep their identity', () => {
    const before = start();
    const after = apply(before, { type: 'peer', party: FAKE_PARTY, peer: { ...first, latencyMs: 7 } });
    expect(peersOf(after).find(({ id }) => id === first.id)?.latencyMs).toBe(7);
    const same = peersOf(after).filter((peer) => peersOf(before).includes(peer));
    expect(same).toHaveLength(data.peers.length - 1);
    expect(after.cameras).toBe(before.cameras);
    expect(after.log).toBe(before.log);
  });

  test('a change of status, path or presence is written down with its reason; a change of numbers is not', () => {
    const relayed: Peer = {
      ...first,
      strategy: 'relay',
      path: { id: 'r', kind: 'relay', endpoint: 'x', relay: 'relay-near', since: null },
      pathReason: { code: 'probes-lost', text: 'The previous path did not answer its probes.' },
    };
    const state = apply(
      start(),
      { type: 'peer', party: FAKE_PARTY, peer: { ...first, receivedBytes: 1 } },
      { type: 'peer', party: FAKE_PARTY, peer: relayed },
      { type: 'peer', party: FAKE_PARTY, peer: { ...relayed, online: false } },
      { type: 'peer', party: FAKE_PARTY, peer: { ...relayed, id: 'new', name: 'aaa' } },
    );
    expect(state.log.items.map(({ subject, tone, code }) => [subject, tone, code])).toEqual([
      [first.name, 'relay', 'probes-lost'],
      [first.name, 'plain', undefined],
      ['aaa', 'plain', undefined],
    ]);
    expect(new Set(state.log.items.map(({ id }) => id)).size).toBe(3);
    expect(peersOf(state)[0]?.name).toBe('aaa');
  });

  test('what is removed takes its samples along', () => {
    const sample = { atMs: FAKE_NOW, rttMs: 4, kind: 'lan' } as const;
    const known = apply(start(), { type: 'latency', party: FAKE_PARTY, peer: first.id, sample });
    expect(known.recent.size).toBe(1);
    const without = apply(known, { type: 'peer-removed', party: FAKE_PARTY, peer: first.id });
    expect(without.recent.size).toBe(0);
    expect(peersOf(without)).toHaveLength(data.peers.length - 1);
    const none = apply(known, { type: 'party-removed', party: FAKE_PARTY });
    expect([none.parties.length, none.peers.size, none.recent.size]).toEqual([0, 0, 0]);
  });

  test('the open peer follows its peer, path and latency events, and no others', () => {
    const detail = data.detail(first.id)!;
    const open = reduce(start(), { type: 'detail', detail });
    const event = {
      at: '2026-05-14T16:42:00Z',
      what: 'switch',
      label: 'x',
      reason: { code: 'direct', text: '' },
    } as const;
    const sample = { atMs: FAKE_NOW + 5_000, rttMs: 4, kind: 'lan' } as const;
    const state = apply(
      open,
      { type: 'peer', party: FAKE_PARTY, peer: { ...first, mtuBytes: 1_300 } },
      { type: 'path', party: FAKE_PARTY, peer: first.id, event },
      { type: 'path', party: FAKE_PARTY, peer: 'other', event },
      { type: 'latency', party: FAKE_PARTY, peer: first.id, sample },
    );
    expect(state.detail?.peer.mtuBytes).toBe(1_300);
    expect(state.detail?.log).toEqual([...detail.log, event]);
    expect(state.detail?.latency.at(-1)).toEqual(sample);
  });

  test('a page that is open for long does not grow: 200,000 events leave bounded lists', () => {
    let state = reduce(start(), { type: 'detail', detail: data.detail(first.id)! });
    const event = { at: '2026-05-14T16:42:00Z', what: 'attempt', label: 'x', reason: { code: 'x', text: '' } } as const;
    for (let round = 0; round < 100; round++) {
      const events: DaemonEvent[] = [];
      for (let index = 0; index < 500; index++) {
        const atMs = FAKE_NOW + (round * 500 + index) * 5_000;
        const status = index % 2 === 0 ? 'failed' : 'connected';
        events.push(
          { type: 'latency', party: FAKE_PARTY, peer: first.id, sample: { atMs, rttMs: 4, kind: 'lan' } },
          { type: 'path', party: FAKE_PARTY, peer: first.id, event },
          { type: 'peer', party: FAKE_PARTY, peer: { ...first, status } },
          { type: 'notice', level: 'info', notice: { code: 'x', message: `${index}` } },
        );
      }
      const download = {
        id: `d${round}`,
        camera: 'feeder',
        state: 'running',
        startedAt: '2026-05-14T16:42:00Z',
        done: 0,
        wanted: 1,
        bytes: 0,
        bytesPerSecond: 0,
        failed: [],
        problem: null,
      } as const;
      state = apply(state, ...events, { type: 'download', download: { ...download, failed: [] } });
    }
    expect(state.recent.get(peerKey(FAKE_PARTY, first.id))?.items).toHaveLength(MAX_RECENT_SAMPLES);
    expect(state.detail?.latency).toHaveLength(MAX_DETAIL_SAMPLES);
    expect(state.detail?.log).toHaveLength(MAX_DETAIL_EVENTS);
    expect(state.log.items).toHaveLength(MAX_LOG_ENTRIES);
    expect(state.notices).toHaveLength(MAX_NOTICES);
    expect(state.downloads).toHaveLength(MAX_DOWNLOADS);
    expect(peersOf(state)).toHaveLength(data.peers.length);
  });

  test('a camera that is added, changes and goes', () => {
    const camera = { ...data.cameras[0]!, name: 'barn' };
    const problem = { code: 'no-path', message: 'The camera did not answer.' };
    const added = apply(start(), { type: 'camera', camera });
    expect(added.cameras.map(({ name }) => name)).toEqual(['barn', 'feeder', 'north-gate', 'pond']);
    const waiting = apply(added, { type: 'camera', camera: { ...camera, state: 'waiting', problem } });
    expect(waiting.log.items.at(-1)).toMatchObject({ subject: 'barn', tone: 'bad', text: problem.message });
    expect(apply(waiting, { type: 'camera-removed', camera: 'barn' }).cameras).toHaveLength(3);
  });

  test("a camera's problems that are over, or whose camera is gone, are no problems of the daemon any more", () => {
    const failing: OutputProblem = {
      code: 'output-failed',
      message: 'The webhook failed.',
      output: 'webhook',
      waiting: 2,
    };
    const camera = { ...data.cameras[0]!, outputProblems: [failing] };
    const other = { code: 'party-failed', message: 'A party did not start.' };
    const { message, code } = failing;
    const problems = [other, { code, message }];
    const state = initialState({ ...data.status(0, 'run-1'), cameras: [camera], problems });
    const messages = (next: PageState) => next.problems.map((problem) => problem.message);
    expect(apply(state, { type: 'camera', camera: { ...camera, state: 'waiting' } }).problems).toBe(problems);
    const three = { ...failing, message: 'Three wait.', waiting: 3 };
    const changed = apply(state, { type: 'camera', camera: { ...camera, outputProblems: [three] } });
    expect(messages(changed)).toEqual([other.message, three.message]);
    const mended = apply(changed, { type: 'camera', camera: { ...camera, outputProblems: [] } });
    expect(messages(mended)).toEqual([other.message]);
    expect(messages(apply(changed, { type: 'camera-removed', camera: camera.name }))).toEqual([other.message]);
    const away = { code: 'not-connected', message: 'It did not answer.' };
    expect(
      messages(apply(mended, { type: 'camera', camera: { ...camera, problem: away, outputProblems: [] } })),
    ).toEqual([other.message]);
  });

  test('a notice can be dismissed; an event of a newer daemon changes nothing', () => {
    const noticed = apply(start(), { type: 'notice', level: 'error', notice: { code: 'disk-full', message: 'Full.' } });
    expect(reduce(noticed, { type: 'dismiss', id: noticed.notices[0]!.id }).notices).toEqual([]);
    const before = start();
    expect(apply(before, { type: 'weather' } as unknown as DaemonEvent)).toBe(before);
  });
});

describe('a bounded list', () => {
  test('keeps the newest, in order, also when more than its limit comes at once', () => {
    const list = new Bounded<number>(3).with([1, 2]).with([3, 4]);
    expect(list.items).toEqual([2, 3, 4]);
    expect(list.with([5, 6, 7, 8]).items).toEqual([6, 7, 8]);
    expect(list.with([])).toBe(list);
  });
});

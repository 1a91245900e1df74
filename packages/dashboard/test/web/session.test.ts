import { describe, expect, test } from 'vitest';
import type { DaemonEvent } from '../../src/api/events.ts';
import { EventStream, type Socket, type StreamState } from '../../src/web/lib/event-stream.ts';
import { FrameBatch } from '../../src/web/lib/frame-batch.ts';
import { Session } from '../../src/web/lib/session.ts';
import { takeToken, tokenOf } from '../../src/web/lib/token.ts';
import { FAKE_NOW, FAKE_PARTY, FakeData } from '../fake-data.ts';

const data = new FakeData();
const TOKEN = 'token-0123456789abcdef';

class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  closed = false;
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  close(): void {
    this.closed = true;
  }

  says(events: DaemonEvent[], { sequence = 1, run = 'run-1', reset = false } = {}): void {
    this.onmessage?.({
      data: JSON.stringify({ version: 1, run, sequence, reset, at: '2026-05-14T16:42:00Z', events }),
    });
  }
}

/** Timers that a test lets pass. */
class Timers {
  #waiting: { callback: () => void; delayMs: number }[] = [];

  readonly schedule = (callback: () => void, delayMs: number): (() => void) => {
    const timer = { callback, delayMs };
    this.#waiting.push(timer);
    return () => {
      this.#waiting = this.#waiting.filter((one) => one !== timer);
    };
  };

  get delays(): number[] {
    return this.#waiting.map(({ delayMs }) => delayMs);
  }

  pass(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { callback } of waiting) callback();
  }
}

function streamRig(random = 0.5) {
  const timers = new Timers();
  const sockets: FakeSocket[] = [];
  const queries: unknown[] = [];
  const states: StreamState[] = [];
  const batches: DaemonEvent[][] = [];
  let resets = 0;
  const stream = new EventStream({
    open: (query) => {
      queries.push(query);
      const socket = new FakeSocket('/v1/events');
      sockets.push(socket);
      return socket;
    },
    schedule: timers.schedule,
    random: () => random,
    onBatch: ({ events }) => batches.push(events),
    onReset: () => resets++,
    onState: (state) => states.push(state),
  });
  return { stream, timers, sockets, queries, states, batches, resets: () => resets };
}

describe('the event stream (C13)', () => {
  test('connects again after 0.5 s, then twice as long each time, at most 15 s; after a good while from the start', () => {
    const { stream, timers, sockets } = streamRig();
    stream.connect();
    const delays: number[] = [];
    for (let round = 0; round < 8; round++) {
      sockets.at(-1)!.onclose?.();
      delays.push(timers.delays[0]!);
      timers.pass();
    }
    expect(delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    sockets.at(-1)!.onopen?.();
    timers.pass(); // it lasts
    sockets.at(-1)!.onclose?.();
    expect(timers.delays).toEqual([500]);
  });

  test('the delays of many pages are spread', () => {
    const [early, late] = [0, 1].map((random) => {
      const { stream, timers, sockets } = streamRig(random);
      stream.connect();
      sockets[0]!.onclose?.();
      return timers.delays[0];
    });
    expect([early, late]).toEqual([375, 625]);
  });

  test('continues after the last event it has, of the same run of the daemon', () => {
    const { stream, timers, sockets, queries, batches } = streamRig();
    stream.startAfter(7, 'run-1');
    stream.connect();
    sockets[0]!.says([{ type: 'party-removed', party: 'p' }], { sequence: 9 });
    sockets[0]!.onclose?.();
    timers.pass();
    expect(queries).toEqual([
      { after: 7, run: 'run-1' },
      { after: 9, run: 'run-1' },
    ]);
    expect(batches).toHaveLength(1);
  });

  test('missed events, and a daemon that was restarted, ask for everything again', () => {
    const { stream, sockets, resets } = streamRig();
    stream.connect();
    sockets[0]!.says([]);
    expect(resets()).toBe(0);
    sockets[0]!.says([], { reset: true });
    expect(resets()).toBe(1);
    sockets[0]!.says([], { run: 'run-2' });
    expect(resets()).toBe(2);
  });

  test('what is no batch is ignored', () => {
    const { stream, sockets, batches } = streamRig();
    stream.connect();
    for (const message of ['{', '[]', '{"version":2,"events":[]}', new Uint8Array(4)]) {
      sockets[0]!.onmessage?.({ data: message });
    }
    expect(batches).toEqual([]);
  });

  test('close ends it for good, also in a pause; connect during a connection does nothing', () => {
    const { stream, timers, sockets, states } = streamRig();
    stream.connect();
    stream.connect();
    expect(sockets).toHaveLength(1);
    sockets[0]!.onclose?.();
    stream.close();
    timers.pass();
    expect(sockets).toHaveLength(1);
    expect(states).toEqual(['connecting', 'waiting', 'closed']);
  });

  test('connect ends a pause', () => {
    const { stream, timers, sockets } = streamRig();
    stream.connect();
    sockets[0]!.onclose?.();
    stream.connect();
    expect(sockets).toHaveLength(2);
    expect(timers.delays).toEqual([]);
  });
});

describe('events are handed over once per frame', () => {
  test('a burst is one update; a page that draws no frames drops the oldest and says how many', () => {
    const frames: (() => void)[] = [];
    const delivered: [number[], number][] = [];
    const batch = new FrameBatch<number>(
      {
        request: (callback) => frames.push(callback),
        deliver: (items, dropped) => delivered.push([[...items], dropped]),
      },
      { limit: 4 },
    );
    for (let item = 0; item < 3; item++) batch.add(item);
    expect(frames).toHaveLength(1);
    frames.pop()!();
    for (let item = 0; item < 1_000; item++) batch.add(item);
    expect(batch.size).toBeLessThanOrEqual(8);
    frames.pop()!();
    expect(delivered[0]).toEqual([[0, 1, 2], 0]);
    const [items, dropped] = delivered[1]!;
    expect(items.at(-1)).toBe(999);
    expect(items.length + dropped).toBe(1_000);
    expect(frames).toEqual([]);
  });
});

function sessionRig(answers: Record<string, () => Response>) {
  const requests: string[] = [];
  const bodies: unknown[] = [];
  const sockets: FakeSocket[] = [];
  const frames: (() => void)[] = [];
  const timers = new Timers();
  const session = new Session({
    fetch: async (url, init) => {
      requests.push(`${init.method} ${url}`);
      if (init.body) bodies.push(JSON.parse(String(init.body)));
      const answer = answers[`${init.method} ${url}`];
      if (answer === undefined) throw new TypeError('Failed to fetch');
      return answer();
    },
    openSocket: (path) => {
      const socket = new FakeSocket(path);
      sockets.push(socket);
      return socket;
    },
    requestFrame: (callback) => frames.push(callback),
    schedule: timers.schedule,
    random: () => 0.5,
    now: () => FAKE_NOW,
  });
  const drawFrame = (): void => {
    for (const callback of frames.splice(0)) callback();
  };
  return { session, requests, bodies, sockets, drawFrame };
}

const json =
  (value: unknown, status = 200) =>
  (): Response =>
    new Response(JSON.stringify(value), { status });
const GOOD = {
  'POST /v1/session': () => new Response(null, { status: 204 }),
  'GET /v1/status': json(data.status(5, 'run-1')),
};

describe('the session (C13)', () => {
  test('gives the token once for a cookie, reads the status, and follows the events after it', async () => {
    const { session, requests, bodies, sockets } = sessionRig(GOOD);
    await session.start(TOKEN);
    expect(requests).toEqual(['POST /v1/session', 'GET /v1/status']);
    expect(bodies).toEqual([{ token: TOKEN }]);
    expect(session.state.get().type).toBe('ready');
    expect(sockets[0]?.path).toBe('/v1/events?after=5&run=run-1');
  });

  test('a token that is refused, and none at all, ask for a link', async () => {
    const refused = sessionRig({
      'POST /v1/session': json({ error: { code: 'wrong-token', message: 'Not this one.' } }, 401),
    });
    await refused.session.start(TOKEN);
    expect(refused.session.state.get()).toEqual({ type: 'signed-out', message: 'Not this one.' });
    const none = sessionRig({ 'GET /v1/status': json({ error: { code: 'no-token', message: 'No token.' } }, 401) });
    await none.session.start(undefined);
    expect(none.session.state.get()).toEqual({ type: 'signed-out', message: undefined });
  });

  test('a daemon that does not answer is said so, and can be tried again', async () => {
    const answers: Record<string, () => Response> = {};
    const { session } = sessionRig(answers);
    await session.start(undefined);
    expect(session.state.get()).toMatchObject({ type: 'unreachable', message: expect.stringContaining('Next:') });
    Object.assign(answers, GOOD);
    await session.start(undefined);
    expect(session.state.get().type).toBe('ready');
  });

  test('an answer that is not JSON is an error, not a blank page', async () => {
    const { session } = sessionRig({ 'GET /v1/status': () => new Response('<html>') });
    await session.start(undefined);
    expect(session.state.get()).toMatchObject({ type: 'unreachable', message: expect.stringContaining('not JSON') });
  });

  test('events change the page once per frame; pictures go to the gallery that is open', async () => {
    const { session, sockets, drawFrame } = sessionRig(GOOD);
    await session.start(undefined);
    const state = session.state.get();
    if (state.type !== 'ready') throw new Error('not ready');
    let updates = 0;
    state.page.subscribe(() => updates++);
    const changes: string[] = [];
    const stop = session.onMedia((media) => changes.push(...media.map(({ type }) => type)));
    const peer = data.peers[0]!;
    for (let index = 0; index < 50; index++) {
      sockets[0]!.says([{ type: 'peer', party: FAKE_PARTY, peer: { ...peer, receivedBytes: index } }]);
    }
    sockets[0]!.says([{ type: 'media-removed', camera: 'feeder', items: ['a'] }]);
    expect(updates).toBe(0);
    drawFrame();
    expect(updates).toBe(1);
    expect(changes).toEqual(['media-removed']);
    stop();
    sockets[0]!.says([{ type: 'media-removed', camera: 'feeder', items: ['b'] }]);
    drawFrame();
    expect(changes).toHaveLength(1);
  });

  test('missed events are made up for by reading everything again', async () => {
    const { session, sockets, requests } = sessionRig(GOOD);
    await session.start(undefined);
    sockets[0]!.says([], { reset: true });
    await expect.poll(() => session.generation.get()).toBe(1);
    expect(requests.filter((request) => request === 'GET /v1/status')).toHaveLength(2);
  });

  test('a cookie that ran out while the page was open asks for a link', async () => {
    const answers: Record<string, () => Response> = { ...GOOD };
    const { session, sockets } = sessionRig(answers);
    await session.start(undefined);
    answers['GET /v1/status'] = json({ error: { code: 'no-token', message: 'No token.' } }, 401);
    sockets[0]!.onclose?.();
    await expect.poll(() => session.state.get().type).toBe('signed-out');
    expect(session.link.get()).toBe('closed');
  });
});

describe('the API client', () => {
  test('changes carry JSON and the content type that the daemon wants; reads carry neither', async () => {
    const inits: RequestInit[] = [];
    const { session } = sessionRig({});
    const { api } = new Session({
      fetch: async (_url, init) => {
        inits.push(init);
        return new Response('{}', { status: 202 });
      },
      openSocket: (path) => new FakeSocket(path),
      requestFrame: () => {},
      schedule: () => () => {},
      random: () => 0,
      now: () => 0,
    });
    await api.call('checkCamera', { parts: { camera: 'a b' } });
    await api.call('cameras');
    expect(inits[0]).toMatchObject({ method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });
    expect(inits[1]).toMatchObject({ method: 'GET', headers: {}, credentials: 'same-origin' });
    expect(inits[1]?.body).toBeUndefined();
    expect(session.state.get().type).toBe('loading');
  });

  test('a refusal keeps the code and message of the daemon; a long message is cut', async () => {
    const { session } = sessionRig({
      'GET /v1/cameras': json({ error: { code: 'disk-full', message: 'x'.repeat(5_000) } }, 507),
      'GET /v1/relays': () => new Response('<h1>502</h1>', { status: 502 }),
    });
    await expect(session.api.call('cameras')).rejects.toMatchObject({
      code: 'disk-full',
      status: 507,
      message: 'x'.repeat(600),
    });
    await expect(session.api.call('relays')).rejects.toMatchObject({ code: 'http-502', status: 502 });
  });
});

describe('the token of the link', () => {
  const host = (hash: string) => {
    const urls: string[] = [];
    return {
      urls,
      location: { hash, pathname: '/', search: '?x=1' },
      history: { replaceState: (_data: unknown, _unused: string, url: string) => void urls.push(url) },
    };
  };

  test('is taken out of the address, where another part of it stays', () => {
    const plain = host(`#token=${TOKEN}`);
    expect(takeToken(plain)).toBe(TOKEN);
    expect(plain.urls).toEqual(['/?x=1#/']);
    const deep = host(`#token=${TOKEN}&to=%2Fcameras%2Ffeeder`);
    expect(takeToken(deep)).toBe(TOKEN);
    expect(deep.urls).toEqual(['/?x=1#/cameras/feeder']);
  });

  test('is not looked for in a page’s own address, and an odd one is not sent', () => {
    const page = host('#/cameras/feeder');
    expect(takeToken(page)).toBeUndefined();
    expect(page.urls).toEqual([]);
    const odd = host('#token=a%0d%0ab&to=javascript:alert(1)');
    expect(takeToken(odd)).toBeUndefined();
    expect(odd.urls).toEqual(['/?x=1#/']);
  });

  test('can be pasted alone or with its link', () => {
    expect(tokenOf(` http://127.0.0.1:7070/#token=${TOKEN} `)).toBe(TOKEN);
    expect(tokenOf(TOKEN)).toBe(TOKEN);
    expect(tokenOf('hello')).toBeUndefined();
  });
});

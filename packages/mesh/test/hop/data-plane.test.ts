import { SeededRandom } from '@towpath/core';
import { afterEach, describe, expect, it } from 'vitest';
import { createModel, type Model, type ModelNode } from './model.ts';

describe('DataPlane', () => {
  let model: Model;
  afterEach(() => model.close());

  /** Both ends send a numbered packet every 20 ms. */
  async function ping(ms: number, onTurn: (turn: number) => void = () => {}): Promise<number> {
    const turns = Math.floor(ms / 20);
    for (let turn = 0; turn < turns; turn++) {
      onTurn(turn);
      model.a.send(turn);
      model.b.send(turn);
      await model.clock.advance(20);
    }
    await model.clock.advance(100);
    return turns;
  }

  const counts = (node: ModelNode) => [...node.received.values()];

  it('carries data over the hop at once and over the splice when the path has lasted (D1)', async () => {
    model = await createModel();
    const { a, b } = model;
    const changes: string[] = [];
    a.plane.events.on('changed', ({ kind, reason }) => changes.push(`${kind} ${reason}`));
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    await ping(200);
    expect(a.plane.kind).toBe('hop');
    expect(b.received.size).toBe(10);
    await ping(3_000);
    expect([a.plane.kind, b.plane.kind]).toEqual(['splice', 'splice']);
    expect(changes).toEqual(['hop path-new', 'splice spliced']);
    const { sentPackets } = a.plane.counters;
    await ping(1_000);
    expect(a.plane.counters.sentPackets).toBe(sentPackets);
    expect(a.endpoint).toEqual(b.real);
  });

  it('loses none of 10,000 packets over 100 moves at random moments of each end', async () => {
    model = await createModel();
    const { a, b } = model;
    const random = new SeededRandom(11);
    const doubted = [false, false];
    let moves = 0;
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    for (const node of [a, b]) {
      let kind = node.plane.kind;
      node.plane.events.on('changed', (change) => {
        if (change.kind !== kind) moves++;
        kind = change.kind;
      });
    }
    const turns = await ping(200_000, () => {
      for (const [at, node] of [a, b].entries()) {
        // A path that is in doubt goes back to the hop, and to the splice when the doubt is over.
        if (random.next() > 0.02) continue;
        doubted[at] = !doubted[at];
        node.plane.setPaths(node.path('p'), doubted[at] ? node.path('q') : undefined);
      }
    });
    expect(moves).toBeGreaterThan(100);
    expect([a.received.size, b.received.size]).toEqual([turns, turns]);
    expect([a.stray, b.stray]).toEqual([0, 0]);
  });

  it('goes on when WireGuard is gone during a move to the hop, and is on the splice again later (C7)', async () => {
    model = await createModel();
    const { a, b } = model;
    for (const node of [a, b]) node.plane.setPaths(node.path('p'));
    await ping(4_000);
    const gone = async () => {
      throw new Error('WireGuard does not answer');
    };
    const { setEndpoint, peer } = a;
    Object.assign(a, { setEndpoint: gone, peer: gone });
    a.plane.setPaths(a.path('q'));
    await ping(1_000);
    expect(a.plane.kind).toBe('hop');
    Object.assign(a, { setEndpoint, peer });
    a.plane.setPaths(a.path('p'));
    await a.plane.repair(await a.peer());
    await ping(5_000);
    expect([a.plane.kind, b.plane.kind]).toEqual(['splice', 'splice']);
  });

  it('tries the splice again after WireGuard was gone during the move to it (C7)', async () => {
    model = await createModel();
    const { a, b } = model;
    const { setEndpoint, peer } = a;
    const gone = async () => {
      throw new Error('WireGuard does not answer');
    };
    Object.assign(a, { setEndpoint: gone, peer: gone });
    for (const node of [a, b]) node.plane.setPaths(node.path('p'));
    await ping(4_000);
    expect([a.plane.kind, a.plane.reason]).toEqual(['hop', 'splice-unavailable']);
    Object.assign(a, { setEndpoint, peer });
    await a.plane.repair(await a.peer());
    await ping(10_000);
    expect([a.plane.kind, b.plane.kind]).toEqual(['splice', 'splice']);
  });

  it('works with one end on the splice and the other on the hop', async () => {
    model = await createModel([true, false]);
    const { a, b } = model;
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    const turns = await ping(5_000);
    expect([a.plane.kind, a.plane.reason]).toEqual(['splice', 'spliced']);
    expect([b.plane.kind, b.plane.reason]).toEqual(['hop', 'splice-off']);
    expect([a.received.size, b.received.size]).toEqual([turns, turns]);
  });

  it('repairs a ruleset that somebody flushed within a second', async () => {
    model = await createModel();
    const { a, b } = model;
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    await ping(3_000);
    expect(a.plane.kind).toBe('splice');
    a.flush();
    await model.clock.advance(10);
    expect([a.plane.kind, a.endpoint]).toEqual(['hop', a.plane.hopEndpoint]);
    await ping(3_000);
    expect(a.stray).toBe(0);
    expect(a.plane.kind).toBe('splice');
  });

  it('repairs an endpoint that would send past the splice', async () => {
    model = await createModel([false, false]);
    const { a, b } = model;
    a.plane.setPaths(a.path('p'));
    await model.clock.advance(10);
    await a.setEndpoint(new Uint8Array(32), b.real);
    await a.plane.repair(await a.peer());
    expect(a.endpoint).toEqual(a.plane.hopEndpoint);
    expect(a.plane.reason).toBe('endpoint-stray');
  });

  it('goes back to the hop when nothing leaves through the splice, and says why', async () => {
    model = await createModel();
    const { a, b } = model;
    a.spliceBroken = true;
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    await ping(8_000);
    expect([a.plane.kind, a.plane.reason]).toEqual(['hop', 'splice-silent']);
    expect(a.endpoint).toEqual(a.plane.hopEndpoint);
    expect([a.outbound, a.inbound]).toEqual([false, false]);
  });

  it.each([
    ['path-not-plain', (node: ModelNode) => node.plane.setPaths(node.path('turn', false))],
    ['two-paths', (node: ModelNode) => node.plane.setPaths(node.path('p'), node.path('q'))],
    ['no-path', (node: ModelNode) => node.plane.setPaths(undefined)],
    [
      'splice-unavailable',
      (node: ModelNode) => {
        node.available = false;
        node.plane.setPaths(node.path('p'));
      },
    ],
  ])('says why it stays on the hop: %s', async (reason, arrange) => {
    model = await createModel();
    arrange(model.a);
    await model.clock.advance(5_000);
    expect([model.a.plane.kind, model.a.plane.reason]).toEqual(['hop', reason]);
  });

  it('leaves the splice for another path without losing a packet', async () => {
    model = await createModel();
    const { a, b } = model;
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    const turns = await ping(12_000, (turn) => {
      if (turn === 150) a.plane.setPaths(a.path('relay', false));
      if (turn === 300) a.plane.setPaths(a.path('p'));
    });
    expect([a.received.size, b.received.size]).toEqual([turns, turns]);
    expect(counts(b).every((count) => count === 1)).toBe(true);
    expect(a.plane.kind).toBe('splice');
  });

  it('keeps a handshake that comes before the path, and forgets it when it is too old', async () => {
    model = await createModel([false, false]);
    const { a, b } = model;
    a.send(1);
    await model.clock.advance(50);
    a.plane.setPaths(a.path('p'));
    await model.clock.advance(50);
    expect([...b.received.keys()]).toEqual([1]);
    a.plane.setPaths(undefined);
    for (let sequence = 2; sequence < 30; sequence++) a.send(sequence);
    await model.clock.advance(6_000);
    a.plane.setPaths(a.path('p'));
    await model.clock.advance(50);
    expect(b.received.size).toBe(1);
    expect(a.plane.counters.droppedPackets).toBe(28);
  });

  it('leaves no rule, timer or socket behind when it is closed in the middle of a move', async () => {
    model = await createModel();
    const { a, b } = model;
    a.plane.setPaths(a.path('p'));
    b.plane.setPaths(b.path('p'));
    await model.clock.advance(1_005);
    await model.close();
    expect([a.outbound, a.inbound, b.outbound, b.inbound]).toEqual([false, false, false, false]);
    await model.clock.advance(100);
    expect(model.clock.pendingTimers).toBe(0);
  });
});

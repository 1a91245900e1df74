import { createServer, connect, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { ConnectionWatch } from '../src/client/connection-watch.ts';
import { clock, Rig, until } from './http-fixture.ts';

const LIMIT_MS = 10_000;

test.each([0, 500, 1_499, 2_999, 3_001, 5_000, 60_000])(
  'a connection that dies after %i ms is noticed within 10 s',
  async (diesAfterMs) => {
    const time = new VirtualClock();
    let deadAt: number | undefined;
    let answers = true;
    const watch = new ConnectionWatch(
      { clock: time },
      {
        ping: (payload) => {
          if (answers) time.timer(200, () => watch.answered(payload));
        },
        onDead: () => {
          deadAt ??= time.now();
        },
      },
    );
    await time.advance(diesAfterMs);
    expect(deadAt).toBeUndefined();
    answers = false;
    await time.advance(LIMIT_MS);
    expect(deadAt! - diesAfterMs).toBeGreaterThan(2_500);
    expect(deadAt! - diesAfterMs).toBeLessThanOrEqual(LIMIT_MS);
    watch[Symbol.dispose]();
    await time.advance(LIMIT_MS);
    expect(time.pendingTimers).toBe(0);
  },
);

test('one pong that is late, and answers that come after their time, do not end a connection', async () => {
  const time = new VirtualClock();
  let dead = false;
  let sent = 0;
  const watch = new ConnectionWatch(
    { clock: time },
    {
      ping: (payload) => {
        if (++sent % 3 !== 0) time.timer(2_300, () => watch.answered(payload));
      },
      onDead: () => {
        dead = true;
      },
    },
  );
  await time.advance(600_000);
  expect([dead, sent > 100]).toEqual([false, true]);
  watch[Symbol.dispose]();
});

/** Passes bytes on until it becomes a black hole: connections stay open and nothing comes through. */
async function blackHole(stack: AsyncDisposableStack, to: number): Promise<{ port: number; swallow(): void }> {
  let swallowing = false;
  const sockets = new Set<Socket>();
  const pass = (from: Socket, into: Socket) => {
    sockets.add(from);
    from.on('data', (data) => swallowing || into.write(data));
    from.on('error', () => {});
    from.on('close', () => swallowing || into.destroy());
  };
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    pass(near, far);
    pass(far, near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    swallow: () => {
      swallowing = true;
    },
  };
}

test('behind a black hole both ends notice, and the node goes on at another server', { timeout: 120_000 }, async () => {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(new Rig());
  const first = await rig.server({ names: ['127.0.0.1'] });
  const hole = await blackHole(stack, Number(new URL(first.address).port));
  const client = await rig.client([`http://127.0.0.1:${hole.port}`]);
  await client.createParty({ name: 'camp', memberName: 'Ann' });
  await until(() => client.connected && first.service.counts.sessions === 1, 'the connection');
  hole.swallow();
  const startedAt = clock.now();
  await until(() => !client.connected, 'the node noticing', 30_000);
  const clientMs = clock.now() - startedAt;
  await until(() => first.service.counts.sessions === 0, 'the server noticing', 30_000);
  const serverMs = clock.now() - startedAt;
  // The times themselves are proven above; what is added here is what a loaded machine takes.
  expect(Math.max(clientMs, serverMs)).toBeLessThan(LIMIT_MS + 10_000);
});

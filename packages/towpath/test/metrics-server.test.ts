import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { MetricsServer } from '../src/serve/metrics-server.ts';

test('idle and half-open connections are limited and cut off; the page is served afterwards (A9)', async () => {
  await using metrics = new MetricsServer();
  metrics.add('towpath_test', () => ({ sent: 3, nested: { openNow: 2 } }), { gauges: ['nested_open_now'] });
  const { port } = await metrics.listen({ address: '127.0.0.1', port: 0 });
  const sockets: Socket[] = [];
  let closed = 0;
  for (let at = 0; at < 80; at++) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('close', () => closed++);
    if (at % 2 === 0) socket.write('GET /metrics HTTP/1.1\r\n');
    socket.resume();
    sockets.push(socket);
  }
  await Promise.all(sockets.map((socket) => socket.connecting && once(socket, 'connect')));
  // Whoever comes next is served, whatever the others do.
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
  // Over the limit at once, and those without a complete request after seconds.
  await expect.poll(() => closed, { timeout: 60_000 }).toBeGreaterThanOrEqual(80 - 32 + 16);
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(page).toMatch(/^towpath_test_sent_total 3$/m);
  expect(page).toMatch(/^towpath_test_nested_open_now 2$/m);
  for (const socket of sockets) socket.destroy();
});

test('a connection that asks again and again without reading is closed, and the page is made once for all (A9)', async () => {
  await using metrics = new MetricsServer();
  let made = 0;
  metrics.append(async () => {
    made++;
    await new Promise((resolve) => setImmediate(resolve));
    return 'page 1';
  });
  const { port } = await metrics.listen({ address: '127.0.0.1', port: 0 });
  const closed = Array.from({ length: 8 }, async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(1_000));
    socket.resume();
    await once(socket, 'close');
  });
  await Promise.all(closed);
  expect(made).toBeLessThanOrEqual(2 * 8);
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain('page 1');
});

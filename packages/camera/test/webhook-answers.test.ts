import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { SeededRandom, SystemClock } from '@towpath/core';
import { expect, test } from 'vitest';
import { EventQueue } from '../src/outputs/events/event-queue.ts';
import { ReceiverHealth } from '../src/outputs/events/receiver-health.ts';
import { Webhook } from '../src/outputs/webhook.ts';
import { item } from './media-items.ts';

const NO_HTTP = 'The receiver answered with something that is not an HTTP response. Next: check the URL.';

test.each([
  ['status 000', 'HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n', NO_HTTP],
  ['status 99', 'HTTP/1.1 99 Few\r\n\r\n', NO_HTTP],
  ['status 1000', 'HTTP/1.1 1000 Many\r\n\r\n', NO_HTTP],
  ['a status of letters', 'HTTP/1.1 abc Letters\r\n\r\n', NO_HTTP],
  ['no HTTP', Buffer.alloc(4_096, 0xe5), NO_HTTP],
  ['headers without end', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`, NO_HTTP],
  [
    'another protocol',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
    'The receiver answered with status 101, for another protocol. Next: check the URL.',
  ],
  ['nothing', '', 'The receiver closed the connection without an answer.'],
])(
  'a webhook that is answered with %s says so in our words, and keeps the picture (B13)',
  async (_what, answer, text) => {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const clock = new SystemClock();
    const queue = await EventQueue.open({ clock });
    const health = new ReceiverHealth({ clock });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const webhook = new Webhook({ clock, random: new SeededRandom(1), queue, health }, { url, secret: 'key' });
    await webhook.picture({ camera: 'C2:00:5E:00:53:0A', item: item(1), takenAt: undefined, jpeg: undefined });
    await expect.poll(() => health.failure?.message, { timeout: 10_000 }).toBe(text);
    expect(webhook.waiting).toBe(1);
    await webhook[Symbol.asyncDispose]();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  },
);

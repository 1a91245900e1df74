import { SystemClock } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { expect, test } from 'vitest';
import { connectByLanSearch } from '../src/index.ts';
import { PpppDevice } from '../src/device/index.ts';
import { StreamCheck, streamBytes } from './channel-bytes.ts';

test('over real sockets on loopback: found, punched, 5 MB exact, closed from both ends (B1)', async () => {
  const clock = new SystemClock();
  const network = new NodeNetwork({ clock });
  const bytes = 5_000_000;
  const closed: string[] = [];
  const device = await PpppDevice.open(
    { network, clock },
    {
      uid: 'TEST-000001-BCDEF',
      address: '127.0.0.1',
      // Any free port will do: it is read after bind.
      searchPort: 0,
      onSession(session) {
        let at = 0;
        const go = () => {
          while (at < bytes) {
            const piece = streamBytes(at, Math.min(30_000, bytes - at));
            at += piece.length;
            if (!session.write(3, piece)) return;
          }
        };
        session.attach({ onData() {}, onDrain: go, onClose: (reason) => closed.push(reason) });
        go();
      },
    },
  );
  const startedAt = clock.now();
  const session = await connectByLanSearch({
    network,
    clock,
    localAddress: '127.0.0.1',
    hosts: [device.search!],
    broadcast: false,
    timeoutMs: 30_000,
  });
  const stream = new StreamCheck();
  await new Promise<void>((resolve) => {
    session.attach({
      onData(_channel, data) {
        stream.add(data);
        if (stream.length >= bytes) resolve();
      },
    });
  });
  expect(stream).toMatchObject({ length: bytes, intact: true });
  expect(session.peer).toEqual(device.listen);
  expect(session.stats.rttMs).toBeGreaterThan(0);
  expect(session.stats.rttMs).toBeLessThan(clock.now() - startedAt);
  await session.close();
  expect(closed).toEqual(['closed-by-peer']);
  await device.close();
});

import { VirtualClock } from '@towpath/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeResponseText } from '../src/artemis/cipher.ts';
import { encodeFrame, MessageType } from '../src/artemis/frame.ts';
import { ArtemisSession } from '../src/client/artemis-session.ts';
import { listMedia } from '../src/client/media-list.ts';
import { connectedBench, drain, FakeCamera } from './client-fixture.ts';

const runs = { numRuns: Number(process.env.TOWPATH_FUZZ_RUNS ?? 100) };

const noise = fc.uint8Array({ maxLength: 120 });
const anyFrame = fc
  .tuple(fc.constantFrom(...Object.values(MessageType)), fc.nat(10), noise)
  .map(([type, seq, body]) => encodeFrame(type, seq, body));
const anyResponse = fc
  .tuple(
    fc.nat(10),
    fc.oneof(fc.json(), fc.constantFrom('{"cmdId":512}', '{"cmdId":0,"token":1}', '{"cmdId":768,"result":"x"}')),
  )
  .map(([seq, json]) => encodeFrame(MessageType.response, seq, encodeResponseText(json)));
const anything = fc.array(fc.tuple(fc.nat(7), fc.oneof(noise, anyFrame, anyResponse)), { maxLength: 30 });

describe('a hostile camera', () => {
  test('cannot make the session throw, before, during and after the login (B2)', async () => {
    await fc.assert(
      fc.asyncProperty(anything, anything, async (before, after) => {
        const clock = new VirtualClock();
        const camera = new FakeCamera(clock);
        const session = new ArtemisSession({ session: camera.open(), clock });
        const login = session.login().then(
          () => 'in',
          () => 'refused',
        );
        for (const [channel, bytes] of before) camera.session.write(channel, bytes);
        await clock.advance(10_000);
        const commands = [512, 768].map((id) => session.command(id, {}).then(String, String));
        for (const [channel, bytes] of after) camera.session.write(channel, bytes);
        await clock.advance(10_000);
        await clock.runUntil(Promise.all([login, ...commands]));
        await session.close();
        await clock.advance(100);
        expect(clock.pendingTimers).toBe(0);
      }),
      runs,
    );
  });

  test('cannot make transfers and streams throw anything but their errors (B2, B13)', async () => {
    await fc.assert(
      fc.asyncProperty(anything, async (bytes) => {
        const { clock, camera, client } = await connectedBench();
        camera.stuckTransfers = true;
        camera.fill(3, 100);
        const abort = new AbortController();
        const { signal } = abort;
        const outcomes = [client.download(camera.items, { signal }), client.thumbnails(camera.items, { signal })]
          .map((items) => drain(items).then(String, (error: { code?: string }) => error.code))
          .concat(drain(client.live({ signal })).then(String, (error: { code?: string }) => error.code));
        await clock.advance(50);
        for (const [channel, piece] of bytes) camera.session.write(channel, piece);
        await clock.advance(10_000);
        abort.abort(Object.assign(new Error('enough'), { code: 'aborted' }));
        for (const outcome of await clock.runUntil(Promise.all(outcomes))) {
          expect(outcome).toMatch(/^(aborted|transfer-stalled|\[object Object\](,\[object Object\])*)$/);
        }
        await client.close();
        await clock.advance(10_000);
        expect(clock.pendingTimers).toBe(0);
      }),
      { numRuns: Math.ceil(runs.numRuns / 4) },
    );
  });

  test('cannot list for ever (B13)', async () => {
    let next = 0;
    const item = { fileType: 0, durationMs: 0, mediaId: 0, mediaTime: 0 };
    const page = () => {
      const items = Array.from({ length: 1000 }, () => ({ ...item, dirNum: next >> 16, mediaNum: next++ & 0xffff }));
      return Promise.resolve({ pageNo: 0, unreadable: 0, items });
    };
    let listed = 0;
    const listing = async () => {
      for await (const _item of listMedia(page, { pageItems: 1000 })) listed++;
    };
    await expect(listing()).rejects.toMatchObject({ code: 'bad-response', message: expect.stringContaining('no end') });
    expect(listed).toBe(250_000);
  });
});

test('a listener that fails does not disturb the session (B4)', async () => {
  const { clock, camera, client } = await connectedBench();
  for (const name of ['heartbeat', 'event', 'state', 'lost', 'connected'] as const) {
    client.events.on(name, () => {
      throw new Error('not my day');
    });
  }
  await clock.advance(4000);
  camera.event({ evtId: 4 });
  await clock.advance(100);
  await camera.session.close();
  await clock.advance(5000);
  expect(client.state).toBe('CONNECTED');
  expect(camera.count(525)).toBe(2);
});

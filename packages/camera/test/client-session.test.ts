import { SystemClock } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { deviceInfo } from '../src/artemis/commands.ts';
import { Channel, encodeFrame, MessageType } from '../src/artemis/frame.ts';
import { ArtemisSession } from '../src/client/artemis-session.ts';
import { FakeCamera, failure } from './client-fixture.ts';

const LOCAL_OFFSET_MS = 3_600_000;

async function loggedIn(prepare: (camera: FakeCamera) => void = () => {}) {
  const clock = new VirtualClock(Date.UTC(2026, 5, 1, 12));
  const camera = new FakeCamera(clock);
  prepare(camera);
  const session = new ArtemisSession({ session: camera.open(), clock }, { utcOffsetMs: () => LOCAL_OFFSET_MS });
  await clock.runUntil(session.login());
  return { clock, camera, session };
}

describe('ARTEMIS session', () => {
  test('logs in after the greeting, with the local wall clock as if it were UTC (B3)', async () => {
    const { clock, camera } = await loggedIn();
    expect(camera.requests).toHaveLength(1);
    expect(camera.requests[0]).toMatchObject({ seq: 1, json: { cmdId: 0, usrName: 'admin', supportHeartBeat: true } });
    expect(camera.utcTime).toBe(Math.floor((clock.wallTime() + LOCAL_OFFSET_MS) / 1000));
  });

  test('takes the offset of the system when none is given (B3)', async () => {
    const clock = new VirtualClock(new SystemClock().wallTime());
    const camera = new FakeCamera(clock);
    const session = new ArtemisSession({ session: camera.open(), clock });
    await clock.runUntil(session.login());
    const offsetMs = -60_000 * new Date(clock.wallTime()).getTimezoneOffset();
    expect(camera.utcTime).toBe(Math.floor((clock.wallTime() + offsetMs) / 1000));
    await session.close();
  });

  test('goes on without a greeting after its time limit (B3)', async () => {
    const { clock, camera } = await loggedIn((it) => (it.greets = false));
    expect(camera.requests[0]!.at).toBeGreaterThanOrEqual(1000);
    expect(clock.now()).toBeLessThan(1100);
  });

  test('reports a login that stays unanswered, and one that is refused (B3)', async () => {
    for (const [prepare, details] of [
      [(camera: FakeCamera) => camera.silent.add(0), { cmdId: 0 }],
      [(camera: FakeCamera) => camera.answers.set(0, { result: 5 }), { result: 5 }],
    ] as const) {
      const clock = new VirtualClock();
      const camera = new FakeCamera(clock);
      prepare(camera);
      const session = new ArtemisSession({ session: camera.open(), clock });
      const error = await clock.runUntil(failure(session.login()));
      expect(error).toMatchObject({ code: 'login-failed', details });
    }
  });

  test('matches answers by number and command, in any order, past unsolicited messages (B2)', async () => {
    const { clock, camera, session } = await loggedIn((it) => it.silent.add(512).add(513));
    const events: number[] = [];
    session.events.on('event', ({ evtId }) => events.push(evtId));
    const first = session.command(512, {});
    const second = session.command(513, {});
    await clock.advance(20);
    camera.event({ evtId: 4 });
    camera.session.write(Channel.command, encodeFrame(MessageType.event, 2, Buffer.from('{"evtId":9}\0')));
    camera.respond(camera.session, 99, { cmdId: 512, result: 0, mine: 'a stranger' });
    camera.respond(camera.session, 3, { cmdId: 512, result: 0, mine: 'another command' });
    camera.respond(camera.session, 3, { cmdId: 513, result: 0, mine: 'second' });
    camera.respond(camera.session, 2, { cmdId: 512, result: 0, mine: 'first' });
    camera.respond(camera.session, 2, { cmdId: 512, result: 0, mine: 'once more' });
    expect(await clock.runUntil(Promise.all([first, second]))).toMatchObject([{ mine: 'first' }, { mine: 'second' }]);
    expect(events).toEqual([4]);
  });

  test('carries the token in every command but login and heartbeat (B3)', async () => {
    const { clock, camera, session } = await loggedIn();
    await clock.runUntil(session.command(512, { extra: 1 }));
    await clock.advance(3100);
    expect(camera.requests.map(({ json }) => [json.cmdId, json.token])).toEqual([
      [0, undefined],
      [512, 7001],
      [525, undefined],
    ]);
  });

  test('gives every request its own time limit and says that the camera was silent (B3)', async () => {
    const { clock, session } = await loggedIn((it) => it.silent.add(512).add(1281));
    const startedAt = clock.now();
    const [a, b] = await clock.runUntil(
      Promise.all([
        failure(session.request(deviceInfo, {})).then((error) => ({ ...error, code: error.code, at: clock.now() })),
        failure(session.command(1281, {}, { timeLimitMs: 500 })).then((error) => ({
          code: error.code,
          at: clock.now(),
        })),
      ]),
    );
    expect(a).toMatchObject({ code: 'command-timeout', at: startedAt + 2000, details: { cmdId: 512 } });
    expect(b).toMatchObject({ code: 'command-timeout', at: startedAt + 500 });
    expect(session.closed).toBeUndefined();
  });

  test('turns every non-zero status into a typed refusal (B3)', async () => {
    const { clock, camera, session } = await loggedIn();
    camera.answers.set(768, { result: 0, getMediaListRet: -3, errorMsg: 'need less than 50' });
    const error = await clock.runUntil(failure(session.command(768, {})));
    expect(error).toMatchObject({
      code: 'command-refused',
      details: { cmdId: 768, getMediaListRet: -3, errorMsg: 'need less than 50' },
    });
    expect(error.message).toContain('mediaList');
  });

  test('reports answers that cannot be read (B3)', async () => {
    const { clock, camera, session } = await loggedIn((it) => it.answers.set(512, { devId: 5, result: 0 }));
    expect(await clock.runUntil(failure(session.request(deviceInfo, {})))).toMatchObject({ code: 'bad-response' });
    camera.silent.add(513);
    const request = failure(session.command(513, {}));
    await clock.advance(20);
    camera.session.write(Channel.command, encodeFrame(MessageType.response, 3, Buffer.from('not base64!\0')));
    expect(await clock.runUntil(request)).toMatchObject({ code: 'bad-response' });
  });

  test('refuses commands before the login and after the end (B3)', async () => {
    const clock = new VirtualClock();
    const camera = new FakeCamera(clock);
    const session = new ArtemisSession({ session: camera.open(), clock });
    expect(await failure(session.command(512, {}))).toMatchObject({ code: 'not-logged-in' });
    await session.close();
    expect(await failure(session.command(512, {}))).toMatchObject({ code: 'session-closed' });
    expect(await failure(session.login())).toMatchObject({ code: 'session-closed' });
  });

  test('rejects what is under way when the camera closes, and leaves no timer behind (B3)', async () => {
    const { clock, camera, session } = await loggedIn((it) => it.silent.add(512));
    const request = failure(session.command(512, {}));
    await clock.advance(20);
    await camera.session.close();
    expect(await clock.runUntil(request)).toMatchObject({
      code: 'session-closed',
      details: { reason: 'closed-by-peer' },
    });
    expect(session.closed?.code).toBe('session-closed');
    await clock.advance(10);
    expect(clock.pendingTimers).toBe(0);
  });

  test('drops an aborted request and its late answer (B3)', async () => {
    const { clock, camera, session } = await loggedIn((it) => it.silent.add(512));
    const abort = new AbortController();
    const request = session.command(512, {}, { signal: abort.signal });
    await clock.advance(20);
    abort.abort(new Error('no longer wanted'));
    await expect(request).rejects.toThrow('no longer wanted');
    camera.respond(camera.session, 2, { cmdId: 512, result: 0 });
    await clock.advance(20);
    expect(session.closed).toBeUndefined();
  });

  test('limits the requests under way', async () => {
    const { clock, session } = await loggedIn((it) => it.silent.add(512));
    const all = Array.from({ length: 257 }, () => failure(session.command(512, {})));
    expect(await all.at(-1)).toMatchObject({ code: 'busy' });
    await clock.runUntil(Promise.all(all));
  });

  test('ends when an answer is overdue and nothing at all was heard (B5)', async () => {
    const { clock, camera, session } = await loggedIn();
    await clock.advance(1000);
    camera.wire.cut();
    const error = await clock.runUntil(failure(session.command(512, {}, { timeLimitMs: 2500 })));
    expect(error.message).toContain('did not acknowledge the request');
    expect(session.closed).toMatchObject({ code: 'session-closed', details: { reason: 'silent' } });
  });
});

describe('heartbeat', () => {
  test('leaves every 3.0 s from the login on, without drift over ten hours (B4)', async () => {
    const { clock, camera, session } = await loggedIn();
    const login = clock.now();
    const hours = 10;
    await clock.advance(hours * 3_600_000 + 1000);
    const beats = camera.requests.filter(({ json }) => json.cmdId === 525);
    expect(beats).toHaveLength((hours * 3600) / 3);
    const oneWayMs = camera.wire.delayMs;
    for (const [n, beat] of beats.entries()) {
      expect(beat.seq).toBe(65_537 + n);
      expect(Math.abs(beat.at - (login + (n + 1) * 3000 + oneWayMs))).toBeLessThan(1e-3);
    }
    expect(session.closed).toBeUndefined();
  });

  test('stops on close (B4)', async () => {
    const { clock, camera, session } = await loggedIn();
    await clock.advance(3500);
    await session.close();
    await clock.advance(60_000);
    expect(camera.count(525)).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  test('ends the session after five in a row that nobody acknowledged (B4)', async () => {
    const { clock, camera, session } = await loggedIn();
    // A camera whose transport answers keep-alives but takes nothing in any more.
    const carrier = session.carrier as { bufferedBytes(channel: number): number };
    const failures: number[] = [];
    session.events.on('heartbeat', (report) => failures.push(report.failures));
    await clock.advance(3500);
    carrier.bufferedBytes = () => 10_000;
    await clock.advance(30_000);
    expect(failures).toEqual([0, 1, 2, 3, 4]);
    expect(session.closed).toMatchObject({ code: 'session-closed', details: { reason: 'silent' } });
    expect(session.closed?.message).toContain('heartbeats');
    expect(camera.session.closed).toBe('closed-by-peer');
  });

  test('forgets failures when one is acknowledged (B4)', async () => {
    const { clock, session } = await loggedIn();
    const carrier = session.carrier as { bufferedBytes(channel: number): number };
    const usual = carrier.bufferedBytes.bind(carrier);
    for (let round = 0; round < 4; round++) {
      carrier.bufferedBytes = () => 10_000;
      await clock.advance(12_000);
      carrier.bufferedBytes = usual;
      await clock.advance(3000);
    }
    expect(session.closed).toBeUndefined();
  });
});

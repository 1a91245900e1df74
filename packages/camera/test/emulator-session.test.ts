import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { decodeAvFrame } from '../src/artemis/av.ts';
import { decodeEvent } from '../src/artemis/event.ts';
import { encodeFrame } from '../src/artemis/frame.ts';
import { decodeFileRecord, decodeThumbnailRecord, fileCheckHolds } from '../src/artemis/record.ts';
import { CommandId } from '../src/artemis/command-id.ts';
import { Card } from '../src/emulator/card.ts';
import { DirectClient, framesIn, LOGIN, RecordingSession } from './emulator-session-support.ts';

function loggedIn(...[clock, change, session]: ConstructorParameters<typeof DirectClient>): DirectClient {
  const client = new DirectClient(clock, change, session);
  client.session.take(0);
  client.login();
  return client;
}

function items(client: DirectClient, count: number): { fileType: number; dirNum: number; mediaNum: number }[] {
  const entries = client.camera.card.page(0, count);
  return entries.map(({ fileType, dirNum, mediaNum }) => ({ fileType, dirNum, mediaNum }));
}

describe('the session of an emulated camera (B11)', () => {
  test('begins with ACK on channel 0', () => {
    const client = new DirectClient(new VirtualClock());
    expect(Buffer.concat(client.session.take(0)).toString()).toBe('ACK');
  });

  test('gives a token that depends on nothing but the login request', () => {
    const [one, two, other] = [0, 1, 2].map(() => new DirectClient(new VirtualClock()));
    const answer = one!.ask(LOGIN);
    expect(answer).toEqual({ cmdId: 0, result: 0, token: answer?.token, bat_percent: 80, errorMsg: 'Success' });
    expect(answer?.token).toBeGreaterThan(2 ** 25);
    expect(answer?.token).toBeLessThan(2 ** 28);
    expect(two!.ask(LOGIN)?.token).toBe(answer?.token);
    expect(other!.ask({ ...LOGIN, utcTime: 1_766_236_492 })?.token).not.toBe(answer?.token);
  });

  test('refuses a login with another password', () => {
    const client = new DirectClient(new VirtualClock());
    expect(client.ask({ ...LOGIN, password: 'guess' })).toMatchObject({ cmdId: 0, result: -1 });
    expect(client.ask({ cmdId: CommandId.deviceInfo })).toBeUndefined();
  });

  test('sets its clock from the login', async () => {
    const clock = new VirtualClock();
    const client = loggedIn(clock);
    await clock.advance(5000);
    expect(client.ask({ cmdId: CommandId.deviceInfo })?.timeUTC).toBe(1_766_236_496);
  });

  test('sends event 4 in clear on channel 6 after the login, with a pad byte that is not zero', async () => {
    const clock = new VirtualClock();
    const client = loggedIn(clock);
    await clock.advance(60);
    const [event] = framesIn(client.session.take(6));
    expect(event).toMatchObject({ type: 9, seq: 1, pad: 0x77 });
    expect(decodeEvent(event!.body)).toMatchObject({ ok: true, value: { evtId: 4 } });
    expect(event!.body).toHaveLength(12);
  });

  test('describes itself in 75 fields that travel as 3 × 1024 + 21 bytes', () => {
    const client = loggedIn(new VirtualClock());
    client.send({ cmdId: CommandId.deviceInfo, token: client.token });
    const [answer] = client.answers();
    expect(Object.keys(answer!.json)).toHaveLength(75);
    expect(20 + answer!.length).toBe(3 * 1024 + 21);
    expect(answer!.json).toMatchObject({ devId: '02:54:50:00:00:01', modelName: 'KJK230', result: 0, cmdId: 512 });
  });

  test('lists 83 items on two pages, newest first', () => {
    const client = loggedIn(new VirtualClock());
    const page = (pageNo: number) => client.ask({ cmdId: CommandId.mediaList, itemCntPerPage: 45, pageNo });
    expect(page(0)).toMatchObject({ cnt: 45, pageNo: 0, getMediaListRet: 0, result: 0 });
    expect(page(1)).toMatchObject({ cnt: 38, pageNo: 1 });
    expect(page(2)).toMatchObject({ cnt: 0, mediaFiles: [] });
  });

  test.each([50, 1000])('refuses a page of %i items', (itemCntPerPage) => {
    const client = loggedIn(new VirtualClock());
    const answer = client.ask({ cmdId: CommandId.mediaList, itemCntPerPage, pageNo: 0 });
    expect(answer?.getMediaListRet).not.toBe(0);
    expect(answer?.errorMsg).toContain('need less than 50');
    expect(answer?.mediaFiles).toEqual([]);
  });

  test('numbers the thumbnails of every request from 1 and sends the same bytes each time', () => {
    const client = loggedIn(new VirtualClock());
    const ask = () => {
      const answer = client.ask({ cmdId: CommandId.thumbnails, thumbnailReqs: items(client, 5) });
      expect(answer).toEqual({ cmdRet: 0, result: 0, cmdId: CommandId.thumbnails });
      return framesIn(client.session.takeAll(4));
    };
    const first = ask();
    expect(first.map((frame) => [frame.type, frame.seq])).toEqual([1, 2, 3, 4, 5].map((seq) => [8, seq]));
    expect(ask()).toEqual(first);
    const records = first.map((frame) => decodeThumbnailRecord(frame.body));
    expect(records.map((record) => record.ok && record.value.mediaNum)).toEqual([83, 82, 81, 80, 79]);
  });

  test('sends several files one after another, with the end check that holds', () => {
    const client = loggedIn(new VirtualClock());
    expect(client.ask({ cmdId: CommandId.download, downloadReqs: items(client, 3) })?.cmdRet).toBe(0);
    const frames = framesIn(client.session.takeAll(3));
    expect(frames.map((frame) => frame.type)).toEqual([5, 5, 5]);
    for (const frame of frames) {
      const record = decodeFileRecord(frame.body);
      expect(record.ok && fileCheckHolds(record.value) && record.value.data.length).toBe(40_000);
    }
  });

  test('sends a record without data for an item that is not there', () => {
    const client = loggedIn(new VirtualClock());
    client.ask({ cmdId: CommandId.download, downloadReqs: [{ fileType: 0, dirNum: 100, mediaNum: 999 }] });
    const [frame] = framesIn(client.session.takeAll(3));
    expect(decodeFileRecord(frame!.body)).toMatchObject({
      ok: true,
      value: { mediaNum: 999, data: new Uint8Array(0) },
    });
  });

  test('lets frame ends and the next frame travel in one packet now and then', () => {
    const starts = (mergeRatio: number) => {
      const client = loggedIn(new VirtualClock(), { mergeRatio });
      client.ask({ cmdId: CommandId.thumbnails, thumbnailReqs: items(client, 20) });
      const pieces = client.session.takeAll(4);
      expect(framesIn(pieces)).toHaveLength(20);
      return pieces.filter((piece) => Buffer.from(piece).subarray(0, 7).toString() === 'ARTEMIS').length;
    };
    expect(starts(0)).toBe(20);
    expect(starts(0.5)).toBeLessThan(18);
    expect(starts(1)).toBe(1);
  });

  test('never queues more than the session takes, however much is asked for', () => {
    const session = new RecordingSession(32_768);
    const client = loggedIn(new VirtualClock(), {}, session);
    for (let count = 0; count < 20; count++) {
      client.send({ cmdId: CommandId.download, downloadReqs: items(client, 83), token: client.token });
    }
    expect(session.largestQueueBytes).toBeLessThan(32_768 + 17_000);
    for (let count = 0; count < 400; count++) session.take(3);
    expect(session.largestQueueBytes).toBeLessThan(32_768 + 17_000);
  });

  test('does not answer a client that lets answers pile up', () => {
    const client = loggedIn(new VirtualClock());
    for (let count = 0; count < 1000; count++) client.send({ cmdId: CommandId.deviceInfo, token: client.token });
    expect(client.session.bufferedBytes(0)).toBeLessThan(256 * 1024 + 4096);
  });

  test('serves a second request for files after the first, or breaks the first off when told to', () => {
    const client = loggedIn(new VirtualClock(), {}, new RecordingSession(16_384));
    const ask = (asked: DirectClient) => {
      const before = asked.session.take(3);
      asked.ask({ cmdId: CommandId.download, downloadReqs: items(asked, 1) });
      return before;
    };
    ask(client);
    expect(framesIn([...ask(client), ...client.session.takeAll(3)])).toHaveLength(2);

    const restarting = loggedIn(new VirtualClock(), { secondTransfer: 'restart' }, new RecordingSession(16_384));
    restarting.ask({ cmdId: CommandId.download, downloadReqs: items(restarting, 1) });
    restarting.ask({ cmdId: CommandId.download, downloadReqs: items(restarting, 1) });
    const pieces = restarting.session.takeAll(3);
    expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBeLessThan(2 * 40_092);
    expect(Buffer.concat(pieces).toString('latin1').split('ARTEMIS')).toHaveLength(3);
  });

  test('deletes one item and formats the card', () => {
    const client = loggedIn(new VirtualClock());
    const [item] = items(client, 1);
    expect(client.ask({ cmdId: CommandId.deleteItem, ...item })).toEqual({ delRet: 0, result: 0, cmdId: 773 });
    expect(client.ask({ cmdId: CommandId.deleteItem, ...item })?.delRet).toBe(-1);
    const answer = client.ask({ cmdId: CommandId.formatSdCard });
    expect(Object.keys(answer!)).toEqual(['errorMsg', 'sdTotalMB', 'sdFreeMB', 'formatRet', 'result', 'cmdId']);
    expect(answer?.sdFreeMB).toBe(answer?.sdTotalMB);
    expect(client.camera.card.size).toBe(0);
  });

  test('plays a video on channel 2 with start and end marked, as fast as it is taken', () => {
    const client = loggedIn(new VirtualClock(), { card: new Card(1, 3, 1) }, new RecordingSession(65_536));
    const [item] = items(client, 1);
    const answer = client.ask({ cmdId: CommandId.startPlayback, ...item, sessionNo: 77 });
    expect(answer).toMatchObject({
      startPbRet: 0,
      videoWidth: 1280,
      videoHeight: 720,
      totalFrame: 150,
      totalTime: 10_000,
    });
    const frames = framesIn(client.session.takeAll(2)).map((frame) => decodeAvFrame(frame.body, 'playback'));
    const values = frames.map((frame) => {
      if (!frame.ok) throw new Error(frame.message);
      return frame.value;
    });
    const video = values.filter((frame) => frame.video.length > 0);
    expect(video).toHaveLength(150);
    expect(values.every((frame) => frame.intact && frame.sessionNo === 77 && frame.trailingBytes === 0)).toBe(true);
    expect([video[0]?.mark, video[0]?.keyFrame, values.at(-1)?.mark]).toEqual([2, true, 4]);
    expect(values.filter((frame) => frame.audio.length > 0).length).toBeGreaterThan(150);
  });

  test('refuses to play a photo, and stops a playback', () => {
    const client = loggedIn(new VirtualClock(), { card: new Card(1, 2, 2) }, new RecordingSession(16_384));
    const [video, photo] = items(client, 2);
    expect(client.ask({ cmdId: CommandId.startPlayback, ...photo, sessionNo: 1 })?.startPbRet).toBe(-1);
    client.ask({ cmdId: CommandId.startPlayback, ...video, sessionNo: 1 });
    client.session.take(2);
    expect(client.ask({ cmdId: CommandId.stopPlayback })?.result).toBe(0);
    client.session.take(2);
    expect(client.session.take(2)).toEqual([]);
  });

  test('sends live pictures and sound with 168 stale bytes from 258 to 259', async () => {
    const clock = new VirtualClock();
    const client = loggedIn(clock);
    expect(client.ask({ cmdId: CommandId.startAv })).toEqual({ errorMsg: 'Success', result: 0, cmdId: 258 });
    const collected: Uint8Array[] = [];
    for (let count = 0; count < 20; count++) {
      await clock.advance(100);
      collected.push(...client.session.take(1));
    }
    const frames = framesIn(collected);
    expect(frames.map((frame) => frame.seq)).toEqual(frames.map((_, index) => index + 1));
    const values = frames.map((frame) => decodeAvFrame(frame.body, 'live'));
    expect(values.every((value) => value.ok && value.value.intact && value.value.trailingBytes === 168)).toBe(true);
    const pictures = values.filter((value) => value.ok && value.value.video.length > 0);
    expect(pictures.length).toBeGreaterThanOrEqual(30);
    expect(pictures.length).toBeLessThanOrEqual(31);
    expect(values.length - pictures.length).toBeGreaterThanOrEqual(31);
    expect(client.ask({ cmdId: CommandId.stopAv })?.result).toBe(0);
    client.session.take(1);
    await clock.advance(1000);
    expect(client.session.take(1)).toEqual([]);
  });

  test('leaves live pictures out while they are not taken', async () => {
    const clock = new VirtualClock();
    const client = loggedIn(clock);
    client.ask({ cmdId: CommandId.startAv });
    await clock.advance(60_000);
    expect(client.session.bufferedBytes(1)).toBeLessThan(400_000);
  });

  test('answers in the order of the requests also when answers take time', async () => {
    const clock = new VirtualClock();
    const client = new DirectClient(clock, { responseDelayMs: 80 });
    client.session.take(0);
    client.send(LOGIN);
    await clock.advance(40);
    expect(client.answers()).toEqual([]);
    await clock.advance(41);
    client.token = Number(client.answers()[0]!.json.token);
    for (const cmdId of [512, 258, 259]) client.send({ cmdId, token: client.token });
    await clock.advance(81);
    expect(client.answers().map((answer) => [answer.seq, answer.json.cmdId])).toEqual([
      [2, 512],
      [3, 258],
      [4, 259],
    ]);
  });
});

describe('what an emulated camera passes over in silence (B11)', () => {
  test('heartbeats, unknown commands, commands without the token and before the login', () => {
    const client = new DirectClient(new VirtualClock());
    client.session.take(0);
    expect(client.ask({ cmdId: CommandId.deviceInfo, token: 1 })).toBeUndefined();
    client.login();
    expect(client.ask({ cmdId: CommandId.heartbeat })).toBeUndefined();
    expect(client.ask({ cmdId: 4711 })).toBeUndefined();
    client.send({ cmdId: CommandId.deviceInfo });
    expect(client.answers()).toEqual([]);
    expect(client.ask({ cmdId: CommandId.deviceInfo, token: client.token! + 1 })).toBeDefined();
  });

  test('a token that is not its own, which another policy refuses or ignores', () => {
    const wrong = { cmdId: CommandId.startAv };
    expect(loggedIn(new VirtualClock()).ask(wrong, 5)).toBeUndefined();
    expect(loggedIn(new VirtualClock(), { tokenPolicy: 'refuse' }).ask(wrong, 5)?.result).toBe(-1);
    expect(loggedIn(new VirtualClock(), { tokenPolicy: 'ignore' }).ask(wrong, 5)?.result).toBe(0);
  });

  test('requests that cannot be deciphered, and goes on with the next', () => {
    const client = loggedIn(new VirtualClock());
    client.session.receive(0, encodeFrame(2, 9, new TextEncoder().encode('bm90IGEgcmVxdWVzdA==\0')));
    client.session.receive(0, encodeFrame(2, 9, new Uint8Array(0)));
    client.session.receive(0, new Uint8Array([65, 82, 84, 69, 77, 0, 1, 2, 3]));
    expect(client.answers()).toEqual([]);
    expect(client.camera.counters.undecodable).toBe(2);
    expect(client.ask({ cmdId: CommandId.deviceInfo })?.result).toBe(0);
  });

  test('everything while it is stuck, until it is not', () => {
    const client = loggedIn(new VirtualClock());
    client.camera.faults.stuck = true;
    expect(client.ask({ cmdId: CommandId.deviceInfo })).toBeUndefined();
    client.camera.faults.stuck = false;
    expect(client.ask({ cmdId: CommandId.deviceInfo })?.result).toBe(0);
  });

  test('its own token when that fault is on', () => {
    const client = loggedIn(new VirtualClock(), {
      faults: { stuck: false, wrongToken: true, hostileText: false, damagedFrameEvery: 0, closeAfterMs: 0 },
    });
    expect(client.ask({ cmdId: CommandId.deviceInfo })).toBeUndefined();
  });
});

describe('when an emulated camera closes (B11)', () => {
  test('7 to 12 s after the start without a valid login, and not with one', async () => {
    const clock = new VirtualClock();
    const [silent, good] = [new DirectClient(clock), loggedIn(clock)];
    await clock.advance(6900);
    expect(silent.session.closed).toBeUndefined();
    await clock.advance(5200);
    expect(silent.session.closed).toBe('closed-locally');
    expect(good.session.closed).toBeUndefined();
  });

  test('after the time that a fault sets', async () => {
    const clock = new VirtualClock();
    const client = loggedIn(clock, {
      faults: { stuck: false, wrongToken: false, hostileText: false, damagedFrameEvery: 0, closeAfterMs: 2000 },
    });
    await clock.advance(2001);
    expect(client.session.closed).toBe('closed-locally');
  });

  test('nothing of it is left: no timer, no live picture', async () => {
    const clock = new VirtualClock();
    const client = loggedIn(clock);
    client.ask({ cmdId: CommandId.startAv });
    await clock.advance(200);
    client.session.end('closed-by-peer');
    expect(clock.pendingTimers).toBe(0);
  });
});

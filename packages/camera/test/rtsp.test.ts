import { createHash } from 'node:crypto';
import { silentLog } from '@towpath/core';
import type { TcpConnection } from '@towpath/net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeInterleaved, parseTransport, RtspReader, type RtspItem } from '../src/outputs/rtsp/message.ts';
import { nalUnits, parameterSets, RtpStream } from '../src/outputs/rtsp/rtp.ts';
import { isAuthorized } from '../src/outputs/rtsp/digest.ts';
import { RtspConnection } from '../src/outputs/rtsp/rtsp-connection.ts';
import { RtspServer } from '../src/outputs/rtsp/rtsp-server.ts';
import { LiveScene } from '../src/emulator/media/live-scene.ts';
import { SILENT_AAC_FRAME } from '../src/emulator/media/silence.ts';
import { Hotspot } from './emulator-fixture.ts';

const KEY = new LiveScene(1, 'TEST', 40_000).next(40_000).data;

describe('RTSP messages', () => {
  const stream = Buffer.concat([
    Buffer.from('OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\nX: a: b\r\n\r\n'),
    encodeInterleaved(1, Uint8Array.of(9, 8, 7)),
    Buffer.from('GET_PARAMETER rtsp://h/live RTSP/1.0\r\ncseq: 2\r\nContent-Length: 3\r\n\r\nabc'),
    Buffer.from('TEARDOWN rtsp://h/live RTSP/1.0\r\nCSeq: 3\r\n\r\n'),
  ]);
  const summary = (items: RtspItem[]) =>
    items.map((item) =>
      item.type === 'request' ? `${item.request.method} ${item.request.headers.get('cseq')}` : item.type,
    );

  test('requests and data are cut from the stream, whole or byte by byte', () => {
    const wanted = ['OPTIONS 1', 'data', 'GET_PARAMETER 2', 'TEARDOWN 3'];
    expect(summary(new RtspReader().push(stream))).toEqual(wanted);
    const reader = new RtspReader();
    expect(summary([...stream].flatMap((byte) => reader.push(Uint8Array.of(byte))))).toEqual(wanted);
  });

  test.each([
    ['another protocol', 'GET / HTTP/1.1\r\n\r\n'],
    ['a header without a name', 'OPTIONS * RTSP/1.0\r\n: x\r\n\r\n'],
    ['a body that is too long', 'PLAY * RTSP/1.0\r\nContent-Length: 4097\r\n\r\n'],
    ['a body of negative length', 'PLAY * RTSP/1.0\r\nContent-Length: -1\r\n\r\n'],
    ['a length that is no number of digits', 'PLAY * RTSP/1.0\r\nContent-Length: 1e3\r\n\r\n'],
    ['a head without end', 'OPTIONS * RTSP/1.0\r\nX: '.padEnd(9_000, 'x')],
  ])('%s is malformed', (_name, text) => {
    expect(new RtspReader().push(Buffer.from(text)).at(-1)).toEqual({ type: 'malformed' });
  });

  test('any bytes do no harm', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }), (parts) => {
        const reader = new RtspReader();
        for (const part of parts) reader.push(part);
      }),
    );
  });

  test.each([
    ['RTP/AVP/TCP;unicast;interleaved=2-3', { type: 'tcp', channels: [2, 3] }],
    ['RTP/AVP;unicast;client_port=5000-5001', { type: 'udp', ports: [5_000, 5_001] }],
    ['RTP/AVP/UDP;unicast;client_port=5000', { type: 'udp', ports: [5_000, 5_001] }],
    ['RTP/AVP;multicast;client_port=5000-5001,RTP/AVP/TCP', { type: 'tcp', channels: [0, 1] }],
    ['RTP/AVP;unicast;client_port=80-81', undefined],
    ['RTP/AVP;unicast;client_port=5000-70000', undefined],
    ['RTP/AVP/TCP;interleaved=255-256', undefined],
    ['RAW/RAW/UDP;unicast', undefined],
  ])('transport %s', (text, wanted) => {
    expect(parseTransport(text)).toEqual(wanted);
  });
});

describe('RTP packets', () => {
  /** Puts NAL units together again, as a receiver does (RFC 6184 §5.8). */
  function reassemble(packets: readonly Uint8Array[]): Buffer[] {
    const units: Buffer[] = [];
    for (const packet of packets) {
      const payload = Buffer.from(packet.subarray(12));
      if ((payload[0]! & 31) !== 28) units.push(payload);
      else if (payload[1]! & 0x80)
        units.push(Buffer.concat([Uint8Array.of((payload[0]! & 0xe0) | (payload[1]! & 31)), payload.subarray(2)]));
      else units.push(Buffer.concat([units.pop()!, payload.subarray(2)]));
    }
    return units;
  }

  test('carry an access unit whole: small units singly, large ones in fragments', () => {
    const rtp = new RtpStream(96, 90_000, [0xdeadbeef, 0xffff, 0]);
    const packets = rtp.h264(KEY, 1_000);
    expect(Math.max(...packets.map(({ length }) => length))).toBeLessThanOrEqual(1_212);
    expect(reassemble(packets)).toEqual(nalUnits(KEY).map((unit) => Buffer.from(unit)));
    expect(packets.map((packet) => packet[1]! >> 7)).toEqual([...packets.slice(1).map(() => 0), 1]);
    const head = Buffer.from(packets[0]!);
    expect([head[0], head.readUInt16BE(2), head.readUInt32BE(4), head.readUInt32BE(8)]).toEqual([
      0x80, 0xffff, 90_000, 0xdeadbeef,
    ]);
    expect(Buffer.from(packets[1]!).readUInt16BE(2)).toBe(0);
  });

  test('any bytes can be packed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_000 }), (bytes) => {
        const rtp = new RtpStream(96, 90_000, [1, 2, 3]);
        expect(reassemble(rtp.h264(bytes, 0)).length).toBeLessThanOrEqual(bytes.length);
        rtp.aac(bytes, 0);
        parameterSets(bytes);
      }),
    );
  });

  test('of AAC have one access unit without its ADTS header (RFC 3640)', () => {
    const [packet] = new RtpStream(97, 16_000, [1, 2, 0]).aac(SILENT_AAC_FRAME, 64);
    const payload = Buffer.from(packet!.subarray(12));
    expect(payload.readUInt16BE(0)).toBe(16);
    expect(payload.readUInt16BE(2) >> 3).toBe(SILENT_AAC_FRAME.length - 7);
    expect(payload.subarray(4)).toEqual(Buffer.from(SILENT_AAC_FRAME.subarray(7)));
    expect(Buffer.from(packet!).readUInt32BE(4)).toBe(1_024);
  });
});

describe('the RTSP server', () => {
  const user = { name: 'towpath', password: 'secret' };

  async function serve() {
    const hotspot = new Hotspot();
    await hotspot.camera();
    const source = await hotspot.connected();
    const { clock, random } = hotspot;
    const network = hotspot.network();
    const { address } = network.interfaces().find(({ internal }) => !internal)!;
    const server = await RtspServer.listen({ network, clock, random, source }, { address, port: 8554, user });
    const viewer = await Viewer.connect(hotspot, server);
    const end = async () => {
      await server[Symbol.asyncDispose]();
      return hotspot.end();
    };
    return { hotspot, server, viewer, end };
  }

  class Viewer {
    text = '';
    closed = false;
    readonly #hotspot: Hotspot;
    #tcp!: TcpConnection;
    #sequence = 0;

    private constructor(hotspot: Hotspot) {
      this.#hotspot = hotspot;
    }

    static async connect(hotspot: Hotspot, server: RtspServer): Promise<Viewer> {
      const viewer = new Viewer(hotspot);
      const handlers = {
        onData: (data: Uint8Array) => {
          viewer.text += Buffer.from(data).toString('latin1');
        },
        onClose: () => {
          viewer.closed = true;
        },
      };
      viewer.#tcp = await hotspot.run(hotspot.network().connectTcp(server.local, handlers));
      return viewer;
    }

    write(text: string): void {
      this.#tcp.write(Buffer.from(text));
    }

    /** Sends a request with the right digest and returns the response. */
    async ask(
      method: string,
      url: string,
      headers: Record<string, string> = {},
      password = user.password,
    ): Promise<string> {
      const nonce = /nonce="(\w+)"/.exec(this.text)?.[1] ?? '';
      const md5 = (text: string) => createHash('md5').update(text).digest('hex');
      const response = md5(`${md5(`towpath:towpath:${password}`)}:${nonce}:${md5(`${method}:${url}`)}`);
      const digest = `Digest username="towpath", realm="towpath", nonce="${nonce}", uri="${url}", response="${response}"`;
      const lines = Object.entries({ CSeq: String(++this.#sequence), Authorization: digest, ...headers });
      const at = this.text.length;
      this.write(`${method} ${url} RTSP/1.0\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`);
      await this.#hotspot.clock.advance(3_000);
      return this.text.slice(at);
    }
  }

  const URL_ = 'rtsp://camera/live';

  test('asks for a password, and takes no wrong one', async () => {
    const { viewer, end } = await serve();
    expect(await viewer.ask('DESCRIBE', URL_)).toMatch(
      /^RTSP\/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest/,
    );
    expect(await viewer.ask('DESCRIBE', URL_, {}, 'guess')).toContain('401');
    const described = await viewer.ask('DESCRIBE', URL_);
    expect(described).toContain('200 OK');
    expect(described).toContain('a=rtpmap:96 H264/90000');
    expect(described).toContain('config=1408');
    expect(await end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('a connection that does not authenticate itself is closed', async () => {
    const { hotspot, viewer, end } = await serve();
    viewer.write('OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n');
    await hotspot.clock.advance(1_000);
    expect(viewer.text).toContain('Public: OPTIONS, DESCRIBE');
    await hotspot.clock.advance(15_000);
    expect(viewer.closed).toBe(true);
    expect(await end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('a viewer over UDP that falls silent is dropped, and the camera stops streaming', async () => {
    const { hotspot, server, viewer, end } = await serve();
    await viewer.ask('DESCRIBE', URL_);
    const udp = { Transport: 'RTP/AVP;unicast;client_port=5000-5001' };
    expect(await viewer.ask('SETUP', `${URL_}/track=0`, udp)).toMatch(/200 OK[\s\S]*server_port=\d+-\d+/);
    expect(await viewer.ask('PLAY', URL_)).toContain('RTP-Info: url=rtsp://camera/live/track=0;seq=');
    expect(server.playing).toBe(1);
    await hotspot.clock.advance(58_000);
    expect(server.playing).toBe(0);
    expect(viewer.closed).toBe(true);
    expect(await end()).toEqual({ sockets: 0, timers: 0 });
  });

  test.each([
    ['PLAY', URL_, {}, 455],
    ['SETUP', `${URL_}/track=7`, { Transport: 'RTP/AVP/TCP' }, 404],
    ['SETUP', `${URL_}/track=0`, { Transport: 'RTP/AVP;multicast' }, 461],
    ['ANNOUNCE', URL_, {}, 405],
  ])('%s %s %j without its conditions is %i', async (method, url, headers, status) => {
    const { viewer, end } = await serve();
    await viewer.ask('DESCRIBE', URL_);
    expect(await viewer.ask(method, url, headers)).toContain(`RTSP/1.0 ${status} `);
    expect(await end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('strangers do not take the place of a viewer', async () => {
    const { hotspot, server, viewer, end } = await serve();
    await viewer.ask('DESCRIBE', URL_);
    expect(await viewer.ask('DESCRIBE', URL_)).toContain('200 OK');
    const strangers: Viewer[] = [];
    for (let at = 0; at < 20; at++) strangers.push(await Viewer.connect(hotspot, server));
    await hotspot.clock.advance(100);
    expect([viewer.closed, strangers.at(-1)!.closed]).toEqual([false, false]);
    expect(await viewer.ask('OPTIONS', URL_)).toContain('200 OK');
    expect(await end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('a client that reads none of its responses is disconnected', async () => {
    const hotspot = new Hotspot();
    const { clock, random } = hotspot;
    let unread = 0;
    let destroyed = false;
    const tcp = {
      local: { address: '192.0.2.1', port: 8554 },
      remote: { address: '192.0.2.9', port: 40_000 },
      get bufferedBytes() {
        return unread;
      },
      write(bytes: Uint8Array) {
        unread += bytes.length;
        return false;
      },
      close: async () => {},
      destroy() {
        destroyed = true;
      },
    } as Partial<TcpConnection> as TcpConnection;
    const source = { live: () => (async function* () {})() };
    const connection = new RtspConnection(
      { network: hotspot.network(), clock, random, log: silentLog, tcp, source },
      { user, describe: async () => ({ sdp: '', soundHz: undefined }), onAuthorized() {}, onClosed() {} },
    );
    const { onData } = connection.handlers();
    for (let at = 0; at < 100_000 && !destroyed; at++) {
      onData(Buffer.from('OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n'));
      if (at % 10 === 0) await clock.advance(0);
    }
    expect(destroyed).toBe(true);
    expect(unread).toBeLessThan(4_000_000);
    expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('a digest of any form is read in one pass', () => {
    // Where each start of a name was tried again, this took minutes.
    for (const part of ['a', 'a=', '"', ',', ' ', 'a="']) {
      expect(isAuthorized(`Digest ${part.repeat(500_000)}`, 'PLAY', 'nonce', user)).toBe(false);
    }
  });

  test('text that is no RTSP ends the connection', async () => {
    const { hotspot, viewer, end } = await serve();
    viewer.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await hotspot.clock.advance(1_000);
    expect([viewer.closed, viewer.text]).toEqual([true, '']);
    expect(await end()).toEqual({ sockets: 0, timers: 0 });
  });
});

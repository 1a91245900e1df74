import { describe, expect, test } from 'vitest';
import { byteHex, counting, hex, ipPacket, readAll, tcpdumpHex } from './capture-samples.ts';

const SHORT = Uint8Array.from([0xf1, 0xe0, 0x00, 0x00]);
const LONG = counting(45, 0x20);

function read(text: string) {
  return readAll(Buffer.from(text));
}

describe('text of tcpdump', () => {
  const header = (time: string, bytes: number): string =>
    `${time} IP (tos 0x0, ttl 64, id 24700, offset 0, flags [DF], proto UDP (17), length ${28 + bytes})\n` +
    `    192.0.2.20.50000 > 192.0.2.1.40000: UDP, length ${bytes}`;

  test.each([
    ['-X', true],
    ['-x', false],
  ])('packets printed with %s are read, with their addresses and times (B12)', (_option, ascii) => {
    const text = [
      header('23:59:59.500000', SHORT.length),
      tcpdumpHex(ipPacket(SHORT), ascii),
      header('00:00:00.250000', LONG.length),
      tcpdumpHex(ipPacket(LONG), ascii),
    ].join('\n');
    const { packets, report } = read(text);
    expect(report).toMatchObject({ format: 'text', problems: [] });
    expect(packets.map(({ data }) => hex(data))).toEqual([hex(SHORT), hex(LONG)]);
    expect(packets.map(({ timeMs }) => timeMs)).toEqual([0, 750]);
    expect(packets.map(({ position }) => position)).toEqual([1, 5]);
    expect(packets[0]!.source).toEqual({ address: '192.0.2.20', port: 50_000 });
    expect(packets[0]!.destination).toEqual({ address: '192.0.2.1', port: 40_000 });
  });

  test('packets printed with -xx bring their link header (B12)', () => {
    const ethernet = Buffer.concat([counting(12, 2), Uint8Array.from([0x08, 0x00]), ipPacket(LONG)]);
    const cooked = Buffer.concat([counting(14), Uint8Array.from([0x08, 0x00]), ipPacket(SHORT)]);
    const text = ['12:00:00.000000 IP a > b: UDP', tcpdumpHex(ethernet, false)]
      .concat(['12:00:01.000000 wlan0 Out IP a > b: UDP', tcpdumpHex(cooked, false)])
      .join('\n');
    expect(read(text).packets.map(({ data }) => hex(data))).toEqual([hex(LONG), hex(SHORT)]);
  });

  test('times since 1970 and dates are understood', () => {
    const dump = tcpdumpHex(ipPacket(SHORT), true);
    const epoch = `1700000000.000000 IP a > b: UDP\n${dump}\n1700000001.500000 IP a > b: UDP\n${dump}`;
    const dated = `2026-01-04 23:59:59.000000 IP a > b: UDP\n${dump}\n2026-01-05 00:00:00.500000 IP a > b: UDP\n${dump}`;
    for (const text of [epoch, dated]) expect(read(text).packets.map(({ timeMs }) => timeMs)).toEqual([0, 1500]);
  });

  test('a dump that stops early is a truncated packet, a dump that is no IP packet a problem', () => {
    const cut = read(`12:00:00.000000 IP a > b: UDP\n${tcpdumpHex(ipPacket(LONG).subarray(0, 48), true)}`);
    expect(cut.packets[0]).toMatchObject({ truncated: LONG.length });
    expect(cut.packets[0]!.data.length).toBe(20);
    const noise = read(`12:00:00.000000 IP a > b: UDP\n${tcpdumpHex(counting(32, 0x70), true)}`);
    expect(noise.report.problems[0]).toMatchObject({ code: 'bad-line', position: 1 });
  });

  test('copies recorded by a forwarding host are left out (B12)', () => {
    const forwarded = Buffer.from(ipPacket(LONG));
    forwarded[4] = 9;
    const original = Buffer.from(forwarded);
    forwarded[8] = 63;
    const text = ['12:00:00.000000 IP a > b: UDP', tcpdumpHex(original, true)]
      .concat(['12:00:00.000030 IP a > b: UDP', tcpdumpHex(forwarded, true)])
      .join('\n');
    expect(read(text).packets.map(({ record }) => record)).toEqual([1]);
  });
});

describe('text exported by Wireshark', () => {
  const summary = (frame: number, time: string, info: string): string =>
    'No.     Time           Source                Destination           Protocol Length Info\n' +
    `     ${frame} ${time}       192.0.2.20            192.0.2.1             UDP      46     ${info}\n\n` +
    `Frame ${frame}: Packet, 46 bytes on wire (368 bits), 46 bytes captured (368 bits)\n` +
    'Ethernet II, Src: Example_18:c9:b2 (02:00:5e:18:c9:b2), Dst: Broadcast (ff:ff:ff:ff:ff:ff)\n' +
    'Internet Protocol Version 4, Src: 192.0.2.20, Dst: camera (192.0.2.1)';
  const ports = 'User Datagram Protocol, Src Port: 50000, Dst Port: 40000';
  const offset = (at: number): string => at.toString(16).padStart(4, '0');

  test('the data of its UDP packets is read, other packets are passed over (B12)', () => {
    const text = [
      summary(11, '9.790145', '50000 → 40000 Len=4'),
      ports,
      `Data (${SHORT.length} bytes)\n`,
      `${byteHex(SHORT, offset)}\n`,
      summary(12, '9.800000', 'Destination unreachable (Port unreachable)'),
      `Internet Control Message Protocol\n${ports}\nData (${SHORT.length} bytes)\n`,
      `${byteHex(SHORT, offset)}\n`,
      summary(13, '10.500000', '50000 → 40000 Len=45'),
      ports,
      `Data (${LONG.length} bytes)\n`,
      byteHex(LONG, offset),
    ].join('\n');
    const { packets, report } = read(text);
    expect(report.problems).toEqual([]);
    expect(packets.map(({ data }) => hex(data))).toEqual([hex(SHORT), hex(LONG)]);
    expect(packets.map(({ timeMs }) => timeMs)).toEqual([9790.145, 10_500]);
    expect(packets[0]!.source).toEqual({ address: '192.0.2.20', port: 50_000 });
    expect(packets[0]!.destination).toEqual({ address: '192.0.2.1', port: 40_000 });
  });

  test('what tshark prints with -V -x, or with -x alone, is read', () => {
    const frame = Buffer.concat([counting(12, 2), Uint8Array.from([0x08, 0x00]), ipPacket(LONG)]);
    const dump = `${byteHex(frame, offset)}\n`;
    const details = (at: number): string =>
      `Frame ${at}: 87 bytes on wire (696 bits), 87 bytes captured (696 bits)\n` +
      `    [Time since reference or first frame: ${at}.500000000 seconds]\n` +
      `Internet Protocol Version 4, Src: 192.0.2.20, Dst: 192.0.2.1\nUDP payload (45 bytes)\n\n${dump}`;
    const line = '    1   0.000000   192.0.2.20 → 192.0.2.1    UDP 87 50000 → 40000 Len=45\n';
    const full = read([line, details(1), details(2)].join(''));
    expect(full.packets.map(({ timeMs, data }) => [timeMs, hex(data)])).toEqual([
      [1500, hex(LONG)],
      [2500, hex(LONG)],
    ]);
    expect(read([dump, dump].join('\n')).packets.map(({ data }) => hex(data))).toEqual([hex(LONG), hex(LONG)]);
  });

  test('a dump of the whole frame is taken apart', () => {
    const frame = Buffer.concat([counting(12, 2), Uint8Array.from([0x08, 0x00]), ipPacket(LONG)]);
    const text = [summary(1, '0.000000', 'x'), ports, `Data (${LONG.length} bytes)`, '    Data: f1e00000', '']
      .concat([byteHex(frame, offset)])
      .join('\n');
    expect(read(text).packets.map(({ data }) => hex(data))).toEqual([hex(LONG)]);
  });
});

describe('logs of Frida hooks', () => {
  const address = (at: number): string => (0x75_0f40_2a18 + at).toString(16);
  const banner = '     ____\n    / _  |   Frida 17.5.2 - A world-class dynamic instrumentation toolkit\n   | (_| |\n';

  test('direction, size and bytes are read, whatever the hook calls them (B12)', () => {
    const text = [
      banner,
      '[Phone::com.example.app ]-> ',
      `⚡ [UDP RX] Empfange (${SHORT.length} bytes)\n${byteHex(SHORT, address)}\n`,
      `⚡ [TX] Sende UDP (${LONG.length} bytes) FD:117\n${byteHex(LONG, address)}\n`,
      `[23:53:58.138] 📥 [RX] DATA (${SHORT.length} bytes)\n${byteHex(SHORT, address)}\n`,
      `sendto(fd=12, len=${LONG.length})`,
      '           0  1  2  3  4  5  6  7  8  9  A  B  C  D  E  F  0123456789ABCDEF',
      `${byteHex(LONG, (at) => at.toString(16).padStart(8, '0'))}\n`,
    ].join('\n');
    const { packets, report } = read(text);
    expect(report.problems).toEqual([]);
    expect(packets.map(({ direction, data }) => [direction, hex(data)])).toEqual([
      ['rx', hex(SHORT)],
      ['tx', hex(LONG)],
      ['rx', hex(SHORT)],
      ['tx', hex(LONG)],
    ]);
    expect(packets.map(({ timeMs }) => timeMs)).toEqual([undefined, undefined, 0, undefined]);
  });

  test('a dump shorter than the size said is a truncated packet; packets without bytes are counted', () => {
    const text = [
      `⚡ [RX] Empfange UDP (100 bytes)\n${byteHex(LONG, address)}\n`,
      '[23:53:58.138] 📤 [TX] UNKNOWN (0x0) (4 bytes)\n',
      '[23:53:58.139] 📤 [TX] UNKNOWN (0x30) (4 bytes)\n',
    ].join('\n');
    const { packets, report } = read(text);
    expect(packets).toEqual([expect.objectContaining({ truncated: 100 })]);
    expect(report.problems[0]!.message).toContain('2 packets were logged without their bytes');
  });

  test('Bluetooth values are read, and a write seen while it was being set counts once (B12)', () => {
    const value = '13 57 01 00 00 00 00 00';
    const write = '00000002-0000-1000-8000-00805f9b34fb';
    const notify = '00000003-0000-1000-8000-00805f9b34fb';
    const text = [
      `🔵 [BLE RX] Notification von UUID: ${write}\n    Data: ${value}\n`,
      `🔵 [BLE TX] Write an UUID: ${write}\n    Data: ${value}\n`,
      `🔵 [BLE RX] Notification von UUID: ${notify}\n    Data: 41 42 43\n`,
      `🔵 [BLE RX] Notification von UUID: ${notify}\n    Data: 44\n`,
      `⚡ [UDP TX] Sende (${SHORT.length} bytes) FD:117\n${byteHex(SHORT, address)}\n`,
    ].join('\n');
    const { packets } = read(text);
    expect(
      packets.map(({ proto, direction, data, characteristic }) => [proto, direction, hex(data), characteristic]),
    ).toEqual([
      ['ble', 'tx', '1357010000000000', write],
      ['ble', 'rx', '414243', notify],
      ['ble', 'rx', '44', notify],
      ['udp', 'tx', hex(SHORT), undefined],
    ]);
  });
});

describe('log lines with hex=', () => {
  test('direction, peer, time and the number of bytes left out are read (B12)', () => {
    const text = [
      '2026-01-04 20:28:52,286 - INFO - Socket: 192.0.2.20:50000',
      `2026-01-04 20:28:52,313 - DEBUG - 📤 DISC Seq=83 to=192.0.2.1:40000 | hex=${hex(SHORT)}`,
      `2026-01-04 20:28:52,351 - DEBUG - 📥 FRAG Seq=83 from=('192.0.2.1', 40000) | hex=${hex(LONG)}…(+105b)`,
    ].join('\r\n');
    const { packets } = read(text);
    expect(packets).toEqual([
      expect.objectContaining({ direction: 'tx', timeMs: 0, truncated: undefined, position: 2 }),
      expect.objectContaining({ direction: 'rx', timeMs: 38, truncated: LONG.length + 105, position: 3 }),
    ]);
    expect(packets[0]!.destination).toEqual({ address: '192.0.2.1', port: 40_000 });
    expect(packets[1]!.source).toEqual({ address: '192.0.2.1', port: 40_000 });
    expect(hex(packets[1]!.data)).toBe(hex(LONG));
  });
});

test.each(['utf16le', 'utf-16be', 'utf8'])('text with a byte order mark in %s is read (B12)', (encoding) => {
  const text = `\ufeff⚡ [RX] Empfange UDP (4 bytes)\n750f402a18  f1 e0 00 00                    ....\n`;
  const little = Buffer.from(text, encoding === 'utf8' ? 'utf8' : 'utf16le');
  const bytes = encoding === 'utf-16be' ? little.swap16() : little;
  expect(readAll(bytes).packets.map(({ data }) => hex(data))).toEqual([hex(SHORT)]);
});

test.each(['little', 'big'])(
  'UTF-16 without a byte order mark, %s endian, is read, and text without packets is refused (B12)',
  (order) => {
    const wide = (text: string) =>
      order === 'big' ? Buffer.from(text, 'utf16le').swap16() : Buffer.from(text, 'utf16le');
    const packets = '[RX] Empfange UDP (4 bytes)\n750f402a18  f1 e0 00 00                    ....\n';
    expect(readAll(wide(packets)).packets.map(({ data }) => hex(data))).toEqual([hex(SHORT)]);
    const prose = readAll(wide('No packet is in here.\nReally.\n'));
    expect([prose.packets.length, prose.report.problems.map(({ code }) => code)]).toEqual([0, ['unknown-format']]);
    // Half a character at the end of the file.
    expect(readAll(Buffer.concat([wide(packets), Buffer.of(0x41)])).packets).toHaveLength(1);
  },
);

test('a line beyond the limit is left out and reported', () => {
  const text = `hex=${'00'.repeat(200_000)}\n2026-01-04 20:28:52,313 TX hex=f1e00000\n`;
  const { packets, report } = read(text);
  expect(packets.map(({ record, position }) => [record, position])).toEqual([[1, 2]]);
  expect(report.problems).toEqual([expect.objectContaining({ code: 'limit-reached', position: 1 })]);
});

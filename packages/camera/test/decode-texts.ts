import { type CapturedPacket, PcapWriter } from '@towpath/net/capture';

/** Writes packets in the forms in which recorders write them, each with what that recorder leaves out. */

const CLIENT = '192.0.2.20';
const CAMERA = '192.0.2.1';

function ends(packet: CapturedPacket): { source: string; destination: string; from: number; to: number } {
  const [source, destination] = packet.direction === 'tx' ? [CLIENT, CAMERA] : [CAMERA, CLIENT];
  return { source, destination, from: packet.source.port ?? 40_611, to: packet.destination.port ?? 40_611 };
}

function rows(bytes: Uint8Array, line: (hex: string, at: number) => string): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    lines.push(line(Buffer.from(bytes.subarray(at, at + 16)).toString('hex'), at));
  }
  return lines.join('\n');
}

function column(hex: string): string {
  return Buffer.from(hex, 'hex')
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, '.');
}

function pairs(hex: string): string {
  return (hex.match(/../g) ?? []).join(' ');
}

export function asHookLog(packets: readonly CapturedPacket[]): string {
  const blocks = packets.map(({ proto, direction, data, characteristic }) => {
    if (proto === 'ble') {
      const what = direction === 'tx' ? '[BLE TX] Write an' : '[BLE RX] Notification von';
      return `🔵 ${what} UUID: ${characteristic}\n    Data: ${pairs(Buffer.from(data).toString('hex'))}\n`;
    }
    const head =
      direction === 'tx' ? `[UDP TX] Sende (${data.length} bytes) FD:117` : `[UDP RX] Empfange (${data.length} bytes)`;
    const dump = rows(
      data,
      (hex, at) => `${(0x75_0f40_2a18 + at).toString(16)}  ${pairs(hex).padEnd(47)}  ${column(hex)}`,
    );
    return `⚡ ${head}\n${dump}\n`;
  });
  return ['     ____\n    / _  |   Frida\n', ...blocks].join('\n');
}

/** Every packet twice, as a forwarding host records it: with TTL 64, and with 63 a moment later. */
export function asTcpdump(packets: readonly CapturedPacket[]): string {
  const writer = new PcapWriter({ linkType: 'raw' });
  return packets
    .flatMap((packet, number) => {
      const { source, destination, from, to } = ends(packet);
      const record = writer.record({
        timeMs: 0,
        source: { address: source, port: from },
        destination: { address: destination, port: to },
        data: packet.data,
      });
      return [64, 63].map((ttl) => {
        const ip = Buffer.from(record.subarray(16));
        ip.writeUInt16BE((number + 1) & 0xffff, 4);
        ip[8] = ttl;
        const time = new Date((packet.timeMs ?? 0) + 40_000_000 + (64 - ttl) / 10).toISOString().slice(11, 23);
        const head = `${time} IP (tos 0x0, ttl ${ttl}, id ${number + 1}, offset 0, flags [DF], proto UDP (17), length ${ip.length})`;
        const names = `    ${source}.${from} > ${destination}.${to}: UDP, length ${packet.data.length}`;
        const dump = rows(ip, (hex, at) => {
          const groups = (hex.match(/.{1,4}/g) ?? []).join(' ');
          return `\t0x${at.toString(16).padStart(4, '0')}:  ${groups.padEnd(39)}  ${column(hex)}`;
        });
        return `${head}\n${names}\n${dump}`;
      });
    })
    .join('\n');
}

export function asWiresharkText(packets: readonly CapturedPacket[]): string {
  return packets
    .map((packet, number) => {
      const { source, destination, from, to } = ends(packet);
      const { data } = packet;
      const time = ((packet.timeMs ?? 0) / 1000).toFixed(6);
      const columns = `${time}     ${source.padEnd(21)} ${destination.padEnd(21)} UDP      ${data.length + 42}`;
      return [
        'No.     Time           Source                Destination           Protocol Length Info',
        `     ${number + 1} ${columns}     ${from} → ${to} Len=${data.length}\n`,
        `Frame ${number + 1}: Packet, ${data.length + 42} bytes on wire, ${data.length + 42} bytes captured`,
        `Internet Protocol Version 4, Src: ${source}, Dst: ${destination}`,
        `User Datagram Protocol, Src Port: ${from}, Dst Port: ${to}`,
        `Data (${data.length} bytes)\n`,
        `${rows(data, (hex, at) => `${at.toString(16).padStart(4, '0')}  ${pairs(hex).padEnd(47)}   ${column(hex)}`)}\n`,
      ].join('\n');
    })
    .join('\n');
}

export function asClientLog(packets: readonly CapturedPacket[]): string {
  const lines = packets.map(({ direction, data, truncated, timeMs, ...packet }) => {
    const time = new Date((timeMs ?? 0) + 1_767_000_000_000)
      .toISOString()
      .slice(0, 23)
      .replace('T', ' ')
      .replace('.', ',');
    const where =
      direction === 'tx'
        ? `📤 RUDP to=${CAMERA}:${packet.destination.port} LBCS`
        : `📥 RUDP from=('${CAMERA}', ${packet.source.port})`;
    const more = truncated === undefined ? '' : `…(+${truncated - data.length}b)`;
    return `${time} - DEBUG - ${where} | hex=${Buffer.from(data).toString('hex')}${more}`;
  });
  return [`2026-01-04 20:28:46,078 - INFO - Socket: ${CLIENT}:35281`, ...lines].join('\n');
}

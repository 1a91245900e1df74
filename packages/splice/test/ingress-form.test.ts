import { SeededRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { INGRESS_FORM } from '../src/ingress-form.ts';
import type { RelayEnd } from '../src/relay-form.ts';
import { STUN_PATTERN } from '../src/relay-rules.ts';
import { hexAddress, type IpFamily } from '../src/values.ts';

const UDP = 17;
const IPV4_HEADER_BYTES = 20;

/** Where fields are, from the start of the IP header. */
const LAYOUT = {
  4: { source: 12, addressBytes: 4, udp: 20, checksum: 10 },
  6: { source: 8, addressBytes: 16, udp: 40, checksum: undefined },
} as const;

/** A datagram that a relay rewrites as the rules of the `netdev` form do, with the kernel's way to keep checksums right. */
class Packet {
  readonly bytes: Buffer;
  readonly #ip: IpFamily;

  constructor(ip: IpFamily, from: RelayEnd, payload: Uint8Array) {
    this.#ip = ip;
    const { source, udp } = LAYOUT[ip];
    this.bytes = Buffer.alloc(udp + 8 + payload.length + (payload.length % 2));
    this.bytes[0] = ip === 4 ? 0x45 : 0x60;
    if (ip === 4) this.bytes.set([64, UDP], 8);
    const addresses = `${hexAddress(from.remote.address)}${hexAddress(from.local.address)}`;
    this.bytes.set(Buffer.from(addresses, 'hex'), source);
    this.bytes.writeUInt16BE(from.remote.port, udp);
    this.bytes.writeUInt16BE(from.local.port, udp + 2);
    this.bytes.writeUInt16BE(8 + payload.length, udp + 4);
    this.bytes.set(payload, udp + 8);
    const { header, datagram } = this.right();
    if (ip === 4) this.bytes.writeUInt16BE(header, 10);
    this.bytes.writeUInt16BE(datagram, udp + 6);
  }

  get checksums(): { header: number; datagram: number } {
    const { udp } = LAYOUT[this.#ip];
    return { header: this.#ip === 4 ? this.bytes.readUInt16BE(10) : 0, datagram: this.bytes.readUInt16BE(udp + 6) };
  }

  /** The checksums that the content should have (RFC 791, RFC 768, RFC 8200 section 8.1). */
  right(): { header: number; datagram: number } {
    const { source, addressBytes, udp } = LAYOUT[this.#ip];
    const copy = Buffer.from(this.bytes);
    copy.writeUInt16BE(0, udp + 6);
    if (this.#ip === 4) copy.writeUInt16BE(0, 10);
    const pseudo = sum(copy.subarray(source, source + 2 * addressBytes)) + UDP + copy.readUInt16BE(udp + 4);
    return {
      header: this.#ip === 4 ? complement(sum(copy.subarray(0, IPV4_HEADER_BYTES))) : 0,
      datagram: complement(pseudo + sum(copy.subarray(udp))) || 0xffff,
    };
  }

  write(at: number, hex: string): void {
    this.bytes.set(Buffer.from(hex, 'hex'), at);
  }

  /** @param checksums where those are that the write keeps right */
  writeChecked(at: number, hex: string, checksums: readonly number[]): void {
    const before = sum(this.bytes.subarray(at, at + hex.length / 2));
    this.write(at, hex);
    const after = sum(this.bytes.subarray(at, at + hex.length / 2));
    for (const place of checksums) {
      const old = this.bytes.readUInt16BE(place);
      // RFC 1624, equation 3.
      this.bytes.writeUInt16BE(complement((~old & 0xffff) + (0xffff - (before % 0xffff)) + after) || 0xffff, place);
    }
  }
}

describe.each([4, 6] as const)('rules of the netdev form, IPv%i', (ip) => {
  test('two checked writes after one that is not leave the checksums right, for any session', () => {
    const random = new SeededRandom(5);
    const { source, udp, checksum } = LAYOUT[ip];
    for (let round = 0; round < 2_000; round++) {
      const [from, to] = [end(random, ip), end(random, ip)];
      const direction = { mark: random.integer(2, 0xffff), ip, from, to };
      const elements = INGRESS_FORM.elements(direction, 'e1');
      const [port, , session] = elements;
      expect(INGRESS_FORM.markOf(port!.key)).toBe(direction.mark);
      const packet = new Packet(ip, from, random.bytes(random.integer(0, 40)));
      expect(packet.checksums).toEqual(packet.right());
      packet.write(source, session!.value!.slice(2));
      const alias = packet.bytes.subarray(udp - (ip === 4 ? 8 : 20), udp - (ip === 4 ? 4 : 16));
      expect(String(alias.readUInt32BE())).toBe(port!.key);
      packet.writeChecked(udp, to.local.port.toString(16).padStart(4, '0'), [udp + 6]);
      const both = checksum === undefined ? [udp + 6] : [checksum, udp + 6];
      packet.writeChecked(source, hexAddress(to.local.address), both);
      const { header, datagram } = packet.right();
      expect([packet.checksums.header % 0xffff, packet.checksums.datagram % 0xffff]).toEqual([
        header % 0xffff,
        datagram % 0xffff,
      ]);
      const expected = `${hexAddress(to.local.address)}${hexAddress(to.remote.address)}`;
      expect(packet.bytes.subarray(source, udp).toString('hex')).toBe(expected);
      expect([packet.bytes.readUInt16BE(udp), packet.bytes.readUInt16BE(udp + 2)]).toEqual([
        to.local.port,
        to.remote.port,
      ]);
    }
  });
});

test('the rules before a session is looked up are one comparison with STUN and the checks of a family', () => {
  const rules = { form: 'netdev', devices: ['eth0'], control: [STUN_PATTERN], maxSessions: 1 } as const;
  const commands = INGRESS_FORM.definition(rules).commands('netdev', 'mine');
  const ingress = commands.filter((command) => command.startsWith('add rule netdev mine in '));
  expect(
    ingress.map((command) => command.slice('add rule netdev mine in '.length).replace(/ @nh,\d+,\d+ set .*/, '')),
  ).toEqual([
    '@th,96,32 == 554869826 accept',
    '@nh,0,8 0x45 @nh,32,32 & 0x3fff == 0 ip protocol udp udp checksum != 0',
    'ip6 nexthdr udp udp checksum != 0',
  ]);
});

function end(random: SeededRandom, ip: IpFamily): RelayEnd {
  const address = () => {
    if (ip === 4)
      return `${random.integer(1, 223)}.${random.integer(0, 255)}.${random.integer(0, 255)}.${random.integer(0, 255)}`;
    const words = Array.from({ length: 4 }, () => random.integer(1, 0xffff).toString(16));
    return `2001:db8:${words[0]}:${words[1]}::${words[2]}:${words[3]}`;
  };
  const port = () => random.integer(1, 65_535);
  return { remote: { address: address(), port: port() }, local: { address: address(), port: port() } };
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  return total;
}

/** Ones' complement of a sum, folded to 16 bits. */
function complement(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

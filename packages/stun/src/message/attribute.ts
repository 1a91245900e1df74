import { addressToBytes, bytesToAddress, type Endpoint } from '@towpath/net';

/** How one attribute's value is laid out. Values are read in place: `at` counts from the start of the message. */
export interface Attribute<T> {
  readonly type: number;
  /** The registered name, `XOR-MAPPED-ADDRESS`. */
  readonly name: string;
  /** The value at `at`, or undefined when its `length` or content is not valid. */
  read(message: Uint8Array, at: number, length: number): T | undefined;
  /** Size of the value in bytes, without padding. */
  size(value: T): number;
  /** Writes the value at `at` of a message whose header is already in place. */
  write(message: Uint8Array, at: number, value: T): void;
}

export interface ErrorCodeValue {
  /** 300…699 (RFC 8489 §14.8). */
  readonly code: number;
  readonly reason: string;
}

/** One entry of PASSWORD-ALGORITHMS, or the PASSWORD-ALGORITHM chosen (RFC 8489 §14.11). */
export interface PasswordAlgorithmValue {
  /** 1 is MD5, 2 is SHA-256. */
  readonly algorithm: number;
  readonly parameters: Uint8Array;
}

/** What CHANGE-REQUEST asks of a server: to answer from its other address, its other port (RFC 5780 §7.2). */
export interface ChangeRequestValue {
  readonly address: boolean;
  readonly port: boolean;
}

/** An ICMP error that a relay saw (RFC 8656 §18.13). */
export interface IcmpValue {
  readonly type: number;
  readonly code: number;
  readonly data: number;
}

/** Why one family of a dual allocation failed (RFC 8656 §18.12). */
export interface AddressErrorCodeValue extends ErrorCodeValue {
  readonly family: 4 | 6;
}

const utf8 = new TextEncoder();
const strict = new TextDecoder('utf-8', { fatal: true });

/** Raw bytes; the value read is a view into the message. */
export function bytesAttribute(type: number, name: string, min = 0, max = 0xffff): Attribute<Uint8Array> {
  return {
    type,
    name,
    read: (message, at, length) => (length < min || length > max ? undefined : message.subarray(at, at + length)),
    size: (value) => value.length,
    write: (message, at, value) => message.set(value, at),
  };
}

/** UTF-8 text of at most `maxBytes`. */
export function textAttribute(type: number, name: string, maxBytes: number): Attribute<string> {
  return {
    type,
    name,
    read(message, at, length) {
      return length > maxBytes ? undefined : text(message, at, length);
    },
    size: (value) => Buffer.byteLength(value),
    write: (message, at, value) => {
      utf8.encodeInto(value, message.subarray(at));
    },
  };
}

function text(message: Uint8Array, at: number, length: number): string | undefined {
  try {
    return strict.decode(message.subarray(at, at + length));
  } catch {
    // The only thing that a strict decoder throws is "not UTF-8", which is a malformed value.
    return undefined;
  }
}

/** An attribute without a value. */
export function flagAttribute(type: number, name: string): Attribute<true> {
  return { type, name, read: (_message, _at, length) => (length === 0 ? true : undefined), size: () => 0, write() {} };
}

export function uint32Attribute(type: number, name: string): Attribute<number> {
  return {
    type,
    name,
    read: (message, at, length) => (length === 4 ? readUint32(message, at) : undefined),
    size: () => 4,
    write: writeUint32,
  };
}

export function uint64Attribute(type: number, name: string): Attribute<bigint> {
  return {
    type,
    name,
    read: (message, at, length) =>
      length === 8 ? (BigInt(readUint32(message, at)) << 32n) | BigInt(readUint32(message, at + 4)) : undefined,
    size: () => 8,
    write(message, at, value) {
      writeUint32(message, at, Number(value >> 32n));
      writeUint32(message, at + 4, Number(value & 0xffffffffn));
    },
  };
}

/** A number in the first `width` bytes of a four-byte value, the others reserved. */
export function leadingUintAttribute(type: number, name: string, width: 1 | 2): Attribute<number> {
  return {
    type,
    name,
    read(message, at, length) {
      if (length !== 4) return undefined;
      return width === 1 ? message[at] : (message[at]! << 8) | message[at + 1]!;
    },
    size: () => 4,
    write(message, at, value) {
      writeUint32(message, at, width === 1 ? value << 24 : value << 16);
    },
  };
}

/** An address family (4 or 6) in a four-byte value. */
export function familyAttribute(type: number, name: string): Attribute<4 | 6> {
  return {
    type,
    name,
    read(message, at, length) {
      return length === 4 ? familyNumber(message[at]) : undefined;
    },
    size: () => 4,
    write(message, at, value) {
      writeUint32(message, at, (value === 4 ? IPV4 : IPV6) << 24);
    },
  };
}

/** One bit: the highest of a single byte (EVEN-PORT's R). */
export function topBitAttribute(type: number, name: string): Attribute<boolean> {
  return {
    type,
    name,
    read: (message, at, length) => (length === 1 ? (message[at]! & 0x80) !== 0 : undefined),
    size: () => 1,
    write(message, at, value) {
      message[at] = value ? 0x80 : 0;
    },
  };
}

const IPV4 = 0x01;
const IPV6 = 0x02;

function familyNumber(value: number | undefined): 4 | 6 | undefined {
  if (value === IPV4) return 4;
  return value === IPV6 ? 6 : undefined;
}

/** An address in the clear (RFC 8489 §14.1), or XORed with cookie and transaction id (§14.2). */
export function addressAttribute(type: number, name: string, xored: boolean): Attribute<Endpoint> {
  return {
    type,
    name,
    read(message, at, length) {
      const family = length < 2 ? undefined : familyNumber(message[at + 1]);
      if (family === undefined || length !== (family === 4 ? 8 : 20)) return undefined;
      const port = (message[at + 2]! << 8) | message[at + 3]!;
      if (!xored) return { address: bytesToAddress(message.subarray(at + 4, at + length))!, port };
      if (family === 4) {
        const address = `${message[at + 4]! ^ 0x21}.${message[at + 5]! ^ 0x12}.${message[at + 6]! ^ 0xa4}.${message[at + 7]! ^ 0x42}`;
        return { address, port: port ^ 0x2112 };
      }
      const plain = new Uint8Array(16);
      for (let index = 0; index < 16; index++) plain[index] = message[at + 4 + index]! ^ message[4 + index]!;
      return { address: bytesToAddress(plain)!, port: port ^ 0x2112 };
    },
    size: ({ address }) => (address.includes(':') ? 20 : 8),
    write(message, at, { address, port }) {
      const bytes = addressToBytes(address);
      if (bytes === undefined) throw new TypeError(`${name} needs an IP address, not "${address}".`);
      message[at] = 0;
      message[at + 1] = bytes.length === 4 ? IPV4 : IPV6;
      const shownPort = xored ? port ^ 0x2112 : port;
      message[at + 2] = shownPort >>> 8;
      message[at + 3] = shownPort;
      for (let index = 0; index < bytes.length; index++) {
        message[at + 4 + index] = xored ? bytes[index]! ^ message[4 + index]! : bytes[index]!;
      }
    },
  };
}

export function errorCodeAttribute(type: number, name: string): Attribute<ErrorCodeValue> {
  return {
    type,
    name,
    read(message, at, length) {
      const code = length < 4 ? undefined : errorNumber(message, at);
      const reason = length > 4 + MAX_TEXT_BYTES ? undefined : text(message, at + 4, Math.max(0, length - 4));
      return code === undefined || reason === undefined ? undefined : { code, reason };
    },
    size: ({ reason }) => 4 + Buffer.byteLength(reason),
    write(message, at, { code, reason }) {
      writeUint32(message, at, (Math.floor(code / 100) << 8) | (code % 100));
      utf8.encodeInto(reason, message.subarray(at + 4));
    },
  };
}

export function addressErrorCodeAttribute(type: number, name: string): Attribute<AddressErrorCodeValue> {
  const plain = errorCodeAttribute(type, name);
  return {
    type,
    name,
    read(message, at, length) {
      const family = length < 4 ? undefined : familyNumber(message[at]);
      const value = plain.read(message, at, length);
      return family === undefined || value === undefined ? undefined : { family, ...value };
    },
    size: plain.size,
    write(message, at, value) {
      plain.write(message, at, value);
      message[at] = value.family === 4 ? IPV4 : IPV6;
    },
  };
}

/** 127 characters of six bytes at most (RFC 8489 §14.8, §14.9, §14.10, §14.14). */
export const MAX_TEXT_BYTES = 763;

function errorNumber(message: Uint8Array, at: number): number | undefined {
  const hundreds = message[at + 2]! & 7;
  const rest = message[at + 3]!;
  return hundreds < 3 || hundreds > 6 || rest > 99 ? undefined : hundreds * 100 + rest;
}

export function typeListAttribute(type: number, name: string): Attribute<readonly number[]> {
  return {
    type,
    name,
    read(message, at, length) {
      if (length % 2 !== 0) return undefined;
      const types: number[] = [];
      for (let index = at; index < at + length; index += 2) types.push((message[index]! << 8) | message[index + 1]!);
      return types;
    },
    size: (value) => value.length * 2,
    write(message, at, value) {
      for (const [index, entry] of value.entries()) {
        message[at + 2 * index] = entry >>> 8;
        message[at + 2 * index + 1] = entry;
      }
    },
  };
}

export function passwordAlgorithmsAttribute(type: number, name: string): Attribute<readonly PasswordAlgorithmValue[]> {
  return {
    type,
    name,
    read(message, at, length) {
      const entries: PasswordAlgorithmValue[] = [];
      for (let offset = 0; offset < length; ) {
        if (length - offset < 4) return undefined;
        const start = at + offset;
        const size = (message[start + 2]! << 8) | message[start + 3]!;
        if (4 + size > length - offset) return undefined;
        entries.push({
          algorithm: (message[start]! << 8) | message[start + 1]!,
          parameters: message.subarray(start + 4, start + 4 + size),
        });
        offset += 4 + padded(size);
      }
      return entries;
    },
    size: (value) => value.reduce((sum, { parameters }) => sum + 4 + padded(parameters.length), 0),
    write(message, at, value) {
      let start = at;
      for (const { algorithm, parameters } of value) {
        writeUint32(message, start, (algorithm << 16) | parameters.length);
        message.set(parameters, start + 4);
        start += 4 + padded(parameters.length);
      }
    },
  };
}

export function changeRequestAttribute(type: number, name: string): Attribute<ChangeRequestValue> {
  return {
    type,
    name,
    read(message, at, length) {
      if (length !== 4) return undefined;
      const bits = message[at + 3]!;
      return { address: (bits & 4) !== 0, port: (bits & 2) !== 0 };
    },
    size: () => 4,
    write(message, at, { address, port }) {
      writeUint32(message, at, (address ? 4 : 0) | (port ? 2 : 0));
    },
  };
}

export function icmpAttribute(type: number, name: string): Attribute<IcmpValue> {
  return {
    type,
    name,
    read(message, at, length) {
      if (length !== 8) return undefined;
      const typeAndCode = (message[at + 2]! << 8) | message[at + 3]!;
      return { type: typeAndCode >>> 9, code: typeAndCode & 0x1ff, data: readUint32(message, at + 4) };
    },
    size: () => 8,
    write(message, at, value) {
      writeUint32(message, at, ((value.type & 0x7f) << 9) | (value.code & 0x1ff));
      writeUint32(message, at + 4, value.data);
    },
  };
}

/** `length` rounded up to the next multiple of four (RFC 8489 §14). */
export function padded(length: number): number {
  return (length + 3) & ~3;
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

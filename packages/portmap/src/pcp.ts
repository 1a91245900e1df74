import { addressToBytes, bytesToAddress, unmapAddress } from '@towpath/net';

/** Port Control Protocol, RFC 6887 §7 and §11 (the MAP opcode). All integers are big-endian. */

export const PCP_VERSION = 2;
export const PCP_NONCE_BYTES = 12;

const OPCODE_ANNOUNCE = 0;
const OPCODE_MAP = 1;
const RESPONSE_BIT = 0x80;
const HEADER_BYTES = 24;
const MAP_BYTES = 36;
const PROTOCOL_NUMBERS = { udp: 17, tcp: 6 } as const;

/** RFC 6887 §7.4. */
export const PcpResult: Readonly<Record<number, string>> = {
  0: 'success',
  1: 'unsupported version',
  2: 'not authorized: mapping is switched off at the gateway',
  3: 'malformed request',
  4: 'unsupported opcode',
  5: 'unsupported option',
  6: 'malformed option',
  7: 'network failure: the gateway has no external address',
  8: 'no resources left',
  9: 'unsupported protocol',
  10: 'quota of this host exceeded',
  11: 'cannot provide the external port',
  12: 'address mismatch: there is another NAT between us and the gateway',
  13: 'excessive remote peers',
};

export const PCP_UNSUPPORTED_VERSION = 1;

export interface PcpMapRequest {
  protocol: 'udp' | 'tcp';
  /** Our own address as the gateway must see it. */
  clientAddress: string;
  /** The same for the whole life of a mapping. */
  nonce: Uint8Array;
  internalPort: number;
  /** 0 lets the gateway choose. */
  suggestedExternalPort: number;
  /** Seconds; 0 deletes the mapping. */
  lifetimeS: number;
}

export type PcpResponse =
  | {
      type: 'refused';
      result: number;
      lifetimeS: number;
      epochS: number;
      /** Of the request, where the gateway repeats it. */
      nonce: Uint8Array | undefined;
    }
  | {
      type: 'mapping';
      lifetimeS: number;
      epochS: number;
      protocol: 'udp' | 'tcp';
      nonce: Uint8Array;
      internalPort: number;
      externalPort: number;
      externalAddress: string;
    };

export type PcpFailure = 'too-short' | 'not-a-response' | 'wrong-version';

/** §7.1 and §11.1. @throws RangeError when `clientAddress` is not an IP address or the nonce has the wrong length. */
export function encodePcpMap(request: PcpMapRequest): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + MAP_BYTES);
  const view = new DataView(out.buffer);
  out[0] = PCP_VERSION;
  out[1] = OPCODE_MAP;
  view.setUint32(4, request.lifetimeS);
  out.set(as16Bytes(request.clientAddress), 8);
  if (request.nonce.length !== PCP_NONCE_BYTES) throw new RangeError(`A PCP nonce has ${PCP_NONCE_BYTES} bytes.`);
  out.set(request.nonce, HEADER_BYTES);
  out[HEADER_BYTES + 12] = PROTOCOL_NUMBERS[request.protocol];
  view.setUint16(HEADER_BYTES + 16, request.internalPort);
  view.setUint16(HEADER_BYTES + 18, request.suggestedExternalPort);
  // §11.1: no suggestion is the all-zeros address of the wanted family.
  out.set(as16Bytes(request.clientAddress.includes(':') ? '::' : '0.0.0.0'), HEADER_BYTES + 20);
  return out;
}

/** §14.1.1: requests an answer only. @throws RangeError when `clientAddress` is not an IP address. */
export function encodePcpAnnounce(clientAddress: string): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES);
  out[0] = PCP_VERSION;
  out[1] = OPCODE_ANNOUNCE;
  out.set(as16Bytes(clientAddress), 8);
  return out;
}

/** An answer to an announcement, or an announcement by the gateway (§14.1); undefined for anything else. Never throws. */
export function decodePcpAnnounce(data: Uint8Array): { result: number; epochS: number } | undefined {
  if (data.length < HEADER_BYTES || data[0] !== PCP_VERSION || data[1] !== (OPCODE_ANNOUNCE | RESPONSE_BIT)) {
    return undefined;
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return { result: view.getUint8(3), epochS: view.getUint32(8) };
}

/** Reads an answer of the gateway; never throws. */
export function decodePcp(data: Uint8Array): PcpResponse | { failure: PcpFailure } {
  if (data.length < 4) return { failure: 'too-short' };
  if (data[0] !== PCP_VERSION) return { failure: 'wrong-version' };
  if (data[1] !== (OPCODE_MAP | RESPONSE_BIT)) return { failure: 'not-a-response' };
  if (data.length < HEADER_BYTES) return { failure: 'too-short' };
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const result = data[3] ?? 0;
  const lifetimeS = view.getUint32(4);
  const epochS = view.getUint32(8);
  const whole = data.length >= HEADER_BYTES + MAP_BYTES;
  if (result !== 0) {
    const nonce = whole ? data.slice(HEADER_BYTES, HEADER_BYTES + PCP_NONCE_BYTES) : undefined;
    return { type: 'refused', result, lifetimeS, epochS, nonce };
  }
  if (!whole) return { failure: 'too-short' };
  const protocolNumber = data[HEADER_BYTES + 12];
  if (protocolNumber !== PROTOCOL_NUMBERS.udp && protocolNumber !== PROTOCOL_NUMBERS.tcp) {
    return { failure: 'not-a-response' };
  }
  return {
    type: 'mapping',
    lifetimeS,
    epochS,
    protocol: protocolNumber === PROTOCOL_NUMBERS.udp ? 'udp' : 'tcp',
    nonce: data.slice(HEADER_BYTES, HEADER_BYTES + PCP_NONCE_BYTES),
    internalPort: view.getUint16(HEADER_BYTES + 16),
    externalPort: view.getUint16(HEADER_BYTES + 18),
    externalAddress: unmapAddress(bytesToAddress(data.subarray(HEADER_BYTES + 20, HEADER_BYTES + 36)) ?? '::'),
  };
}

/** §5: IPv4 addresses travel as IPv4-mapped IPv6. */
function as16Bytes(address: string): Uint8Array {
  const bytes = addressToBytes(address);
  if (bytes === undefined) throw new RangeError(`"${address}" is not an IP address.`);
  if (bytes.length === 16) return bytes;
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}

/** NAT Port Mapping Protocol, RFC 6886 §3.2 to §3.5. All integers are big-endian. */

export const NAT_PMP_VERSION = 0;

/** RFC 6886 §3.5. */
export const NatPmpResult: Readonly<Record<number, string>> = {
  0: 'success',
  1: 'unsupported version',
  2: 'not authorized: mapping is switched off at the gateway',
  3: 'network failure: the gateway has no external address',
  4: 'out of resources',
  5: 'unsupported opcode',
};

export interface NatPmpMapRequest {
  protocol: 'udp' | 'tcp';
  internalPort: number;
  /** 0 lets the gateway choose. */
  suggestedExternalPort: number;
  /** Seconds; 0 deletes the mapping. */
  lifetimeS: number;
}

export type NatPmpResponse =
  | { type: 'external-address'; result: number; epochS: number; address: string }
  | {
      type: 'mapping';
      result: number;
      epochS: number;
      protocol: 'udp' | 'tcp';
      internalPort: number;
      externalPort: number;
      lifetimeS: number;
    };

export type NatPmpFailure = 'too-short' | 'not-a-response' | 'wrong-version';

/** §3.2: requests the external address. */
export function encodeAddressRequest(): Uint8Array {
  return Uint8Array.of(NAT_PMP_VERSION, 0);
}

/** §3.3. */
export function encodeMapRequest(request: NatPmpMapRequest): Uint8Array {
  const out = new Uint8Array(12);
  const view = new DataView(out.buffer);
  out[0] = NAT_PMP_VERSION;
  out[1] = request.protocol === 'udp' ? 1 : 2;
  view.setUint16(4, request.internalPort);
  view.setUint16(6, request.suggestedExternalPort);
  view.setUint32(8, request.lifetimeS);
  return out;
}

/** Reads an answer of the gateway; never throws. */
export function decodeNatPmp(data: Uint8Array): NatPmpResponse | { failure: NatPmpFailure } {
  if (data.length < 8) return { failure: 'too-short' };
  if (data[0] !== NAT_PMP_VERSION) return { failure: 'wrong-version' };
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const result = view.getUint16(2);
  const epochS = view.getUint32(4);
  switch (data[1]) {
    case 128: {
      // A refusal may come without the address (§3.5 leaves the rest undefined).
      if (data.length < 12 && result === 0) return { failure: 'too-short' };
      const address = data.length < 12 ? '0.0.0.0' : data.subarray(8, 12).join('.');
      return { type: 'external-address', result, epochS, address };
    }
    case 129:
    case 130:
      if (data.length < 16) return { failure: 'too-short' };
      return {
        type: 'mapping',
        result,
        epochS,
        protocol: data[1] === 129 ? 'udp' : 'tcp',
        internalPort: view.getUint16(8),
        externalPort: view.getUint16(10),
        lifetimeS: view.getUint32(12),
      };
    default:
      return { failure: 'not-a-response' };
  }
}

import { addressToBytes, type Endpoint } from '@towpath/net';
import * as attr from '../message/attributes.ts';
import { reasonOf, StunErrorCode } from '../message/error-codes.ts';
import { HEADER_BYTES, MessageClass, Method } from '../message/header.ts';
import type { StunMessage } from '../message/stun-message.ts';
import { StunWriter } from '../message/stun-writer.ts';

/** Attributes of the answers from one socket, besides the client's address. */
export interface BindingResponderOptions {
  /** The socket's own address (RESPONSE-ORIGIN). */
  origin?: Endpoint | undefined;
  /** The server's other address and port (OTHER-ADDRESS, RFC 5780 §7.4). */
  other?: Endpoint | undefined;
  software?: string | undefined;
}

/** Attributes that a Binding request may carry without being refused (RFC 8489 §6.3.1, RFC 5780 §6.1, RFC 8445 §7.1). */
const KNOWN: ReadonlySet<number> = new Set(
  [
    attr.username,
    attr.userhash,
    attr.messageIntegrity,
    attr.messageIntegritySha256,
    attr.realm,
    attr.nonce,
    attr.passwordAlgorithm,
    attr.changeRequest,
    attr.padding,
    attr.responsePort,
    attr.priority,
    attr.useCandidate,
  ].map(({ type }) => type),
);

const NO_ID = new Uint8Array(12);

/** Makes the answers to Binding requests that come to one socket. */
export class BindingResponder {
  /** Complete answers with the address left out, for the two families. */
  readonly #template4: Buffer;
  readonly #template6: Buffer;
  readonly #options: BindingResponderOptions;

  constructor(options: BindingResponderOptions = {}) {
    this.#options = options;
    this.#template4 = Buffer.from(this.#write(NO_ID, { address: '0.0.0.0', port: 0 }).finish());
    this.#template6 = Buffer.from(this.#write(NO_ID, { address: '::', port: 0 }).finish());
  }

  /**
   * Returns the answer to a Binding request without attributes, the usual one: a copy of a prepared answer with the
   * address filled in. Undefined when `data` is anything else.
   */
  plainAnswer(data: Uint8Array, from: Endpoint): Uint8Array | undefined {
    if (data.length !== HEADER_BYTES || data[0] !== 0 || data[1] !== 1 || data[2] !== 0 || data[3] !== 0)
      return undefined;
    if (data[4] !== 0x21 || data[5] !== 0x12 || data[6] !== 0xa4 || data[7] !== 0x42) return undefined;
    const address = addressToBytes(from.address);
    if (address === undefined) return undefined;
    const template = address.length === 4 ? this.#template4 : this.#template6;
    const answer = Buffer.allocUnsafe(template.length);
    template.copy(answer);
    answer.set(data.subarray(4, HEADER_BYTES), 4);
    answer[PORT_AT] = (from.port >>> 8) ^ 0x21;
    answer[PORT_AT + 1] = from.port ^ 0x12;
    for (let at = 0; at < address.length; at++) answer[ADDRESS_AT + at] = address[at]! ^ data[4 + at]!;
    if (this.#options.other === undefined) return answer;
    // MAPPED-ADDRESS: the same in the clear, as far behind as an address attribute is long.
    const plainAt = 8 + address.length;
    answer[PORT_AT + plainAt] = from.port >>> 8;
    answer[PORT_AT + plainAt + 1] = from.port;
    answer.set(address, ADDRESS_AT + plainAt);
    return answer;
  }

  /** Returns the answer to any Binding request: an error response when it has attributes that are not understood. */
  answer(request: StunMessage, from: Endpoint): Uint8Array {
    const unknown = request.unknownRequired(KNOWN);
    if (unknown.length > 0) return unknownAttributes(request, unknown);
    const writer = this.#write(request.transactionId, from);
    const padding = request.get(attr.padding);
    // As much as came, so that the answer is never larger than what was asked for (RFC 5780 §6.1).
    if (padding !== undefined) writer.add(attr.padding, new Uint8Array(padding.length));
    if (request.has(attr.fingerprint)) writer.fingerprint();
    return writer.finish();
  }

  #write(transactionId: Uint8Array, from: Endpoint): StunWriter {
    const { origin, other, software } = this.#options;
    return (
      new StunWriter(MessageClass.Success, Method.Binding, transactionId)
        .add(attr.xorMappedAddress, from)
        // With both, behaviour tests see routers that rewrite addresses inside packets (RFC 5780 §3.6).
        .addIf(attr.mappedAddress, other === undefined ? undefined : from)
        .addIf(attr.responseOrigin, origin)
        .addIf(attr.otherAddress, other)
        .addIf(attr.software, software)
    );
  }
}

/** XOR-MAPPED-ADDRESS is the first attribute of an answer: header, attribute header, zero and family come before. */
const PORT_AT: number = HEADER_BYTES + 6;
const ADDRESS_AT: number = HEADER_BYTES + 8;

/** A plain error response. */
export function errorResponse(request: StunMessage, code: StunErrorCode): StunWriter {
  return new StunWriter(MessageClass.Error, request.method, request.transactionId).add(attr.errorCode, {
    code,
    reason: reasonOf(code),
  });
}

/** 420 with the types that were not understood (RFC 8489 §6.3.1). */
export function unknownAttributes(request: StunMessage, types: readonly number[]): Uint8Array {
  return errorResponse(request, StunErrorCode.UnknownAttribute).add(attr.unknownAttributes, types).finish();
}

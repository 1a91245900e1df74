import type { Endpoint, UdpSocket } from '@towpath/net';
import type { SimulatedHost } from '@towpath/net/simulated';
import { LongTermAuth } from '../../src/client/long-term-auth.ts';
import { requestWithAuth } from '../../src/client/stun-client.ts';
import { type StunRequest, type StunResponse, StunTransactions } from '../../src/client/stun-transactions.ts';
import * as attr from '../../src/message/attributes.ts';
import { Method } from '../../src/message/header.ts';
import { decodeStun, type StunMessage } from '../../src/message/stun-message.ts';
import type { StunWriter } from '../../src/message/stun-writer.ts';
import type { World } from './internet.ts';
import { ALICE } from './turn.ts';

/** REQUESTED-TRANSPORT of datagrams. */
export const UDP = 17;

/** A client that says what it likes: raw requests over one socket. */
export interface Raw {
  readonly socket: UdpSocket;
  readonly messages: StunMessage[];
  request(request: StunRequest): Promise<StunResponse>;
  signed(request: StunRequest, auth?: LongTermAuth): Promise<StunResponse>;
}

export async function raw(at: World, host: SimulatedHost, server: Endpoint): Promise<Raw> {
  const { clock, random } = at;
  const messages: StunMessage[] = [];
  const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) });
  const socket = await host.network.bindUdp({
    onMessage(data, from) {
      const result = decodeStun(data);
      if (!result.ok) return;
      messages.push(result.message);
      transactions.handle(result.message, from);
    },
  });
  const auth = new LongTermAuth(ALICE);
  return {
    socket,
    messages,
    request: (request) => clock.runUntil(transactions.request(server, request)),
    signed: (request, other = auth) => clock.runUntil(requestWithAuth(transactions, other, server, request)),
  };
}

export const allocateRequest = (write?: (writer: StunWriter) => void): StunRequest => ({
  method: Method.Allocate,
  write(writer) {
    writer.add(attr.requestedTransport, UDP);
    write?.(writer);
  },
});

/** The error code that a request was refused with. */
export function codeOf(error: unknown): number {
  return (error as { response: { code: number } }).response.code;
}

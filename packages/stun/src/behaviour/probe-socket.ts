import type { Clock, Random } from '@towpath/core';
import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import { StunError } from '../client/stun-error.ts';
import { type RetransmissionOptions, type StunResponse, StunTransactions } from '../client/stun-transactions.ts';
import type { ChangeRequestValue } from '../message/attribute.ts';
import * as attr from '../message/attributes.ts';
import { Method } from '../message/header.ts';
import { decodeStun, type StunMessage } from '../message/stun-message.ts';

export interface ProbeComponents {
  network: Network;
  clock: Clock;
  random: Random;
}

/** A UDP socket that sends Binding requests and is closed with the test that it is for. */
export class ProbeSocket implements AsyncDisposable {
  readonly #socket: UdpSocket;
  readonly #transactions: StunTransactions;
  /** Gets messages that answer none of this socket's requests. */
  onOther: ((message: StunMessage, from: Endpoint) => void) | undefined;

  private constructor(socket: UdpSocket, transactions: StunTransactions) {
    this.#socket = socket;
    this.#transactions = transactions;
  }

  static async open(
    { network, clock, random }: ProbeComponents,
    where: { address?: string | undefined; port?: number | undefined; family: 4 | 6; signal?: AbortSignal | undefined },
  ): Promise<ProbeSocket> {
    let probe: ProbeSocket | undefined;
    const socket = await network.bindUdp({
      ...where,
      onMessage(data, from) {
        const result = decodeStun(data);
        if (result.ok && !transactions.handle(result.message, from)) probe?.onOther?.(result.message, from);
      },
    });
    const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) });
    probe = new ProbeSocket(socket, transactions);
    return probe;
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  /** A Binding request. @throws StunError `stun-timed-out`; the signal's reason. */
  binding(
    to: Endpoint,
    options: RetransmissionOptions & {
      change?: ChangeRequestValue;
      responsePort?: number;
      signal?: AbortSignal | undefined;
    },
  ): Promise<StunResponse> {
    const { change, responsePort, ...request } = options;
    return this.#transactions.request(to, {
      ...request,
      method: Method.Binding,
      write: (writer) => writer.addIf(attr.changeRequest, change).addIf(attr.responsePort, responsePort),
    });
  }

  send(data: Uint8Array, to: Endpoint): void {
    this.#socket.send(data, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#transactions.close(new StunError('stun-closed', 'The probe is over.'));
    await this.#socket.close();
  }
}

/** Four sends within `timeoutMs`: at once, after a ninth, three ninths and seven ninths. */
export function within(
  timeoutMs: number,
): Required<Pick<RetransmissionOptions, 'rtoMs' | 'maxSends' | 'lastWaitFactor'>> {
  return { rtoMs: timeoutMs / 9, maxSends: 4, lastWaitFactor: 2 };
}

/** Resolves with undefined in place of a {@link StunError}, for probes whose failure is a result. */
export async function unlessFailed<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof StunError) return undefined;
    throw error;
  }
}

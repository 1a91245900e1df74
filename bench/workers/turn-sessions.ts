/**
 * Opens sessions at a TURN server at a steady rate, each with a port for plain relaying that it verifies, and ends some of them.
 * Writes its own STUN messages with keys that it has prepared. Its argument is a {@link SessionsTask}; it prints {@link SessionsDone}
 * when all that was to end has ended, and ends the rest after a line on standard input.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import {
  decodeStun,
  type IntegrityKey,
  longTermKey,
  MessageClass,
  Method,
  PasswordAlgorithm,
  stunAttributes as attr,
  type StunMessage,
  StunWriter,
} from '@towpath/stun/message';
import { SystemRandom } from '@towpath/core';
import { type Endpoint, sameEndpoint } from '@towpath/net';
import { printLine, workerTask } from '../support/worker.ts';

export interface SessionsTask {
  server: Endpoint;
  realm: string;
  users: readonly { username: string; password: string }[];
  /** Of the client. */
  addresses: readonly string[];
  /** Of the peers, one after the other. */
  peers: readonly string[];
  count: number;
  perSecond: number;
  /** One in so many sessions stays open. */
  keepEvery: number;
  /** No more are being opened at a time: a server that is slower is asked for less. */
  maxOpening: number;
}

export interface SessionsDone {
  /** Opened and, but for those that are kept, ended. */
  perSecond: number;
  /** Requests that were sent again because no answer had come. */
  repeated: number;
  /** Of the sessions that are open: the client's address and the port for it, the peer and the port for that. */
  open: readonly [Endpoint, Endpoint, Endpoint, Endpoint][];
  /** From the first request to the answer to the verification, ms. */
  openMs: readonly number[];
}

const TRANSACTION_ID_BYTES = 12;
const FIRST_REPEAT_MS = 1_000;
const MAX_SENDS = 5;
const CHANNEL = 0x4000;
const UDP = 17;
/** An answer at a plain port is no longer than the request. */
const PADDING = new Uint8Array(400);
/** How long a session that ends has been open at most, ms. */
const MAX_OPEN_MS = 200;

const task = workerTask<SessionsTask>();
const random = new SystemRandom();
const keys = task.users.map(({ username, password }) =>
  longTermKey(username, task.realm, password, PasswordAlgorithm.Sha256),
);
let repeated = 0;

/** One client port with its session. */
class Session {
  readonly #socket: Socket;
  readonly #username: string;
  readonly #key: IntegrityKey;
  readonly #peer: Endpoint;
  #local: Endpoint = { address: '', port: 0 };
  #relayed: Endpoint | undefined;
  #plain: Endpoint | undefined;
  #nonce: string | undefined;
  #id: Uint8Array = new Uint8Array(0);
  #answered: (message: StunMessage) => void = () => {};

  constructor(at: number) {
    // Those that stay open belong to all of the users.
    const user = Math.floor(at / task.keepEvery) % task.users.length;
    this.#username = task.users[user]?.username ?? '';
    this.#key = keys[user]!;
    this.#peer = { address: task.peers[at % task.peers.length] ?? '', port: 10_000 + at };
    this.#socket = createSocket({ type: 'udp4', lookup: (address, _options, callback) => callback(null, address, 4) });
    this.#socket.on('message', (data) => {
      const result = decodeStun(data);
      if (result.ok && Buffer.compare(result.message.transactionId, this.#id) === 0) this.#answered(result.message);
    });
  }

  get ends(): [Endpoint, Endpoint, Endpoint, Endpoint] {
    return [this.#local, this.#plain!, this.#peer, this.#relayed!];
  }

  async open(address: string): Promise<void> {
    const listening = once(this.#socket, 'listening');
    this.#socket.bind({ address, port: 0, exclusive: true });
    await listening;
    this.#local = { address, port: this.#socket.address().port };
    const allocated = await this.#request(task.server, Method.Allocate, (writer) =>
      writer.add(attr.requestedTransport, UDP),
    );
    this.#relayed = allocated.get(attr.xorRelayedAddress);
    const bound = await this.#request(task.server, Method.ChannelBind, (writer) =>
      writer.add(attr.channelNumber, CHANNEL).add(attr.xorPeerAddress, this.#peer).add(attr.plainRelay, true),
    );
    this.#plain = bound.get(attr.xorPlainAddress);
    if (this.#plain === undefined) throw new Error('The server gave no port for plain relaying.');
    const nonce = this.#nonce;
    this.#nonce = undefined;
    const verified = await this.#request(this.#plain, Method.Binding, (writer) => {
      writer.add(attr.plainRelay, true);
      if (this.#nonce === undefined) writer.add(attr.padding, PADDING);
    });
    if (!sameEndpoint(verified.get(attr.xorMappedAddress)!, this.#local))
      throw new Error('Another address was verified.');
    this.#nonce = nonce;
  }

  async close(): Promise<void> {
    await this.#request(task.server, Method.Refresh, (writer) => writer.add(attr.lifetime, 0));
    this.#socket.close();
  }

  /** Sends a request, signs it when it is challenged, and repeats what is not answered. */
  async #request(to: Endpoint, method: number, write: (writer: StunWriter) => void): Promise<StunMessage> {
    for (let tries = 0; tries < 3; tries++) {
      const signed = this.#nonce !== undefined;
      const answer = await this.#exchange(to, method, write);
      if (answer.class === MessageClass.Success) return answer;
      const error = answer.get(attr.errorCode);
      this.#nonce = answer.get(attr.nonce);
      if (this.#nonce === undefined || (signed && error?.code === 401)) {
        throw new Error(`The server refused method ${method} with ${error?.code} ${error?.reason}.`);
      }
    }
    throw new Error(`The server challenged method ${method} again and again.`);
  }

  #exchange(to: Endpoint, method: number, write: (writer: StunWriter) => void): Promise<StunMessage> {
    this.#id = random.bytes(TRANSACTION_ID_BYTES);
    const writer = new StunWriter(MessageClass.Request, method, this.#id);
    write(writer);
    if (this.#nonce !== undefined) {
      writer.add(attr.username, this.#username).add(attr.realm, task.realm).add(attr.nonce, this.#nonce);
      const algorithm = (each: number) => ({ algorithm: each, parameters: new Uint8Array(0) });
      writer.add(attr.passwordAlgorithms, [algorithm(PasswordAlgorithm.Sha256), algorithm(PasswordAlgorithm.Md5)]);
      writer.add(attr.passwordAlgorithm, [algorithm(PasswordAlgorithm.Sha256)]).integrity(this.#key, 'sha256');
    }
    const message = writer.finish();
    const { promise, resolve, reject } = Promise.withResolvers<StunMessage>();
    let timer: NodeJS.Timeout | undefined;
    const send = (sends: number) => {
      if (sends > 1) repeated++;
      if (sends > MAX_SENDS) reject(new Error(`No answer to method ${method} from port ${to.port}.`));
      else this.#socket.send(message, to.port, to.address);
      timer = setTimeout(() => send(sends + 1), FIRST_REPEAT_MS * 2 ** (sends - 1));
    };
    this.#answered = resolve;
    send(1);
    return promise.finally(() => clearTimeout(timer));
  }
}

const openMs: number[] = [];
const kept: Session[] = [];
const closing: Promise<void>[] = [];
const opening: Promise<void>[] = [];
const startedMs = performance.now();
for (let at = 0; at < task.count; at++) {
  const waitMs = startedMs + (1_000 * at) / task.perSecond - performance.now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  await opening[at - task.maxOpening];
  opening.push(run(at));
}
await Promise.all(opening);
await Promise.all(closing);
const perSecond = (1_000 * task.count) / (performance.now() - startedMs);
const done: SessionsDone = { perSecond, repeated, open: kept.map(({ ends }) => ends), openMs };
printLine(done);
await once(createInterface({ input: process.stdin }), 'line');
await Promise.all(kept.map((session) => session.close()));
printLine({ repeated });
process.stdin.destroy();

async function run(at: number): Promise<void> {
  const session = new Session(at);
  const askedMs = performance.now();
  await session.open(task.addresses[at % task.addresses.length] ?? '');
  openMs.push(performance.now() - askedMs);
  if (at % task.keepEvery === 0) kept.push(session);
  else {
    const forMs = random.integer(0, MAX_OPEN_MS);
    closing.push(new Promise((resolve) => setTimeout(resolve, forMs)).then(() => session.close()));
  }
}

import type { Endpoint } from '@towpath/net';
import * as attr from '../../message/attributes.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { MessageClass, Method } from '../../message/header.ts';
import { decodeStun, type StunMessage } from '../../message/stun-message.ts';
import { StunWriter } from '../../message/stun-writer.ts';
import type { AnswerLimit } from '../../server/answer-limit.ts';
import { type BindingResponder, errorResponse } from '../../server/binding-responder.ts';
import { type Authenticator, sameUser } from './authenticator.ts';
import type { GroupQuotas } from './group-quotas.ts';
import { LoopGuard } from './loop-guard.ts';
import { type PlainContext, type PlainOwner, PlainPort, type PlainServer } from './plain-port.ts';

export interface PlainPortsComponents extends PlainServer {
  readonly authenticator: Authenticator;
  readonly binding: BindingResponder;
  /** Limits of answers to Binding requests, and to requests of nobody known. */
  readonly bindings: AnswerLimit;
  readonly unauthenticated: AnswerLimit;
  readonly software: string | undefined;
  readonly groups: GroupQuotas;
  /** True when the port may be a relayed one of this server, or of another process that shares its ports. */
  isRelayed(peer: Endpoint): boolean;
  /** Counts one request of a user; false when it sends too many. */
  allowRequest(user: string): boolean;
}

export interface PlainPortsLimits {
  /** Ports of all users together. */
  readonly total: number;
  readonly perUser: number;
}

/** All plain ports of a server. */
export class PlainPorts {
  readonly #context: PlainPortsComponents & PlainContext;
  readonly #limits: PlainPortsLimits;
  readonly #open = new Set<PlainPort>();
  readonly #perUser = new Map<string, number>();
  /** Present with the first datagram that may circle. */
  #loops: LoopGuard | undefined;
  /** Ports that are open, or being opened. */
  #taken = 0;

  constructor(components: PlainPortsComponents, limits: PlainPortsLimits) {
    this.#limits = limits;
    this.#context = {
      ...components,
      logOf: (user) => components.logOf(user),
      allowRequest: (user) => components.allowRequest(user),
      isRelayed: (peer) => components.isRelayed(peer),
      onStun: (port, data, from) => this.#onStun(port, data, from),
      onClosed: (port) => {
        if (this.#open.delete(port)) this.#release(port.owner.identity.user);
      },
      onMoved: ({ owner }, inKernel) =>
        components.log.debug(inKernel ? 'the kernel forwards' : 'user space forwards', { user: owner.identity.user }),
    };
  }

  get size(): number {
    return this.#open.size;
  }

  /**
   * Opens a port on the relay address of the client's family.
   * @returns undefined when a limit is reached, or no port is free.
   * @throws NetError when binding fails.
   */
  async open(owner: PlainOwner, family: 4 | 6): Promise<PlainPort | undefined> {
    const { user } = owner.identity;
    const count = this.#perUser.get(user) ?? 0;
    if (this.#taken >= this.#limits.total || count >= this.#limits.perUser) return undefined;
    if (!this.#context.groups.takePlainPort(user)) return undefined;
    // Taken before the port is open: others may be asked for meanwhile.
    this.#perUser.set(user, count + 1);
    this.#taken++;
    try {
      const socket = await this.#context.ports.udp(family);
      if (socket === undefined) {
        this.#release(user);
        return undefined;
      }
      const port = new PlainPort(this.#context, owner, socket);
      this.#open.add(port);
      port.refresh();
      return port;
    } catch (error) {
      this.#release(user);
      throw error;
    }
  }

  /** False for a datagram that circles: it has passed this port too often. */
  mayPass({ announced, mayCircle }: PlainPort, data: Uint8Array): boolean {
    if (!mayCircle) return true;
    this.#loops ??= new LoopGuard(this.#context);
    return this.#loops.passes(announced.port, data);
  }

  /** Closes all. */
  close(): void {
    for (const port of [...this.#open]) port.close();
  }

  #release(user: string): void {
    this.#taken--;
    this.#context.groups.giveBackPlainPort(user);
    const left = (this.#perUser.get(user) ?? 1) - 1;
    if (left > 0) this.#perUser.set(user, left);
    else this.#perUser.delete(user);
  }

  /** STUN at a plain port: Binding requests, and those that verify the client's address. */
  #onStun(port: PlainPort, data: Uint8Array, from: Endpoint): void {
    const { counters, binding } = this.#context;
    const plain = binding.plainAnswer(data, from);
    if (plain !== undefined) {
      this.#answerBinding(port, plain, from);
      return;
    }
    const result = decodeStun(data);
    const { message } = result.ok ? result : { message: undefined };
    if (message?.class !== MessageClass.Request || message.method !== Method.Binding) {
      counters.dropped.malformed++;
      return;
    }
    // Two plain ports whose clients are each other's relayed ports would pass a datagram to and fro without end.
    if (message.has(attr.plainRelay) && this.#context.isRelayed(this.#context.ports.announced(from))) {
      counters.dropped.notPermitted++;
      return;
    }
    if (message.has(attr.plainRelay)) this.#verify(port, message, from, data.length);
    else this.#answerBinding(port, binding.answer(message, from), from);
  }

  #answerBinding(port: PlainPort, answer: Uint8Array, to: Endpoint): void {
    const { counters, bindings } = this.#context;
    if (!bindings.allow(to.address)) {
      counters.dropped.rate++;
      return;
    }
    counters.bindings++;
    port.sendAnswer(answer, to);
  }

  /**
   * The nonce was sent to the address and port that the request comes from, for this port: whoever signs it receives what
   * is sent there. Nobody else gets more bytes than came from there.
   */
  #verify(port: PlainPort, request: StunMessage, from: Endpoint, requestBytes: number): void {
    const { counters, authenticator, unauthenticated, software } = this.#context;
    const { identity: owner } = port.owner;
    const scope = ` ${from.port} plain ${port.announced.port}`;
    const result = authenticator.authenticate(request, from, owner, scope);
    if (!result.ok) {
      if (result.response.length > requestBytes) {
        counters.dropped.malformed++;
        return;
      }
      counters.unauthenticated++;
      if (unauthenticated.allow(from.address)) port.sendAnswer(result.response, from);
      else counters.dropped.rate++;
      return;
    }
    const { identity } = result;
    if (!this.#context.allowRequest(identity.user)) {
      counters.dropped.rate++;
      return;
    }
    if (!sameUser(owner, identity)) {
      const { WrongCredentials } = StunErrorCode;
      counters.refused[WrongCredentials] = (counters.refused[WrongCredentials] ?? 0) + 1;
      const answer = errorResponse(request, WrongCredentials).integrity(identity.key, identity.integrity);
      port.sendAnswer(answer.finish(), from);
      return;
    }
    port.verify(from);
    const answer = new StunWriter(MessageClass.Success, Method.Binding, request.transactionId)
      .add(attr.xorMappedAddress, from)
      .addIf(attr.software, software);
    port.sendAnswer(answer.integrity(identity.key, identity.integrity).finish(), from);
  }
}

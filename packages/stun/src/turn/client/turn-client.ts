import type { Clock, Log, Random } from '@towpath/core';
import {
  type Endpoint,
  formatEndpoint,
  type Network,
  sameEndpoint,
  type TcpConnection,
  type TlsClientOptions,
} from '@towpath/net';
import { isStream, openStunTransport, type TransportProtocol } from '../../client/stun-transport.ts';
import { LongTermAuth, type LongTermCredentials } from '../../client/long-term-auth.ts';
import { requestWithAuth } from '../../client/stun-client.ts';
import { StunError } from '../../client/stun-error.ts';
import { type RetransmissionOptions, StunTransactions } from '../../client/stun-transactions.ts';
import * as attr from '../../message/attributes.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { isChannelData } from '../../message/channel-data.ts';
import { isStun, Method, methodOf } from '../../message/header.ts';
import type { StunMessage } from '../../message/stun-message.ts';
import { decodeStun } from '../../message/stun-message.ts';
import { openDataConnection } from './tcp-peer-connection.ts';
import type { DataRequest, Grant, TurnAllocationParts, TurnHandlers } from './allocation-parts.ts';
import type { SharedSocket } from './plain-paths.ts';

export interface TurnClientComponents {
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface AllocateOptions extends RetransmissionOptions {
  server: Endpoint;
  credentials: LongTermCredentials;
  handlers: TurnHandlers;
  /** Family of the relayed address. `dual` asks for both and takes what it gets. @default 4 */
  family?: 4 | 6 | 'dual';
  /** What peers use: datagrams, or connections (RFC 6062, needs TCP or TLS to the server). @default 'udp' */
  peerTransport?: 'udp' | 'tcp';
  /** How long the server should keep the allocation without refresh, ms. @default 600000 */
  lifetimeMs?: number;
  /** How often the server is asked while the allocation is idle, which also keeps NAT mappings alive, ms. @default 15000 */
  keepAliveMs?: number;
  signal?: AbortSignal | undefined;
}

/** Options of an allocation with a socket or connection of its own. */
export interface OwnTransportOptions {
  /** @default 'udp' */
  transport?: TransportProtocol;
  tls?: TlsClientOptions | undefined;
  localAddress?: string;
  localPort?: number;
}

/** Redirects (300) and address clashes (437) that are followed before giving up. */
const MAX_REDIRECTS = 4;

/** What carries the messages to the server. */
interface ServerLink {
  readonly stream: boolean;
  send(data: Uint8Array): void;
  release(): Promise<void>;
  /** Datagrams can go to other ports of the server from here. */
  socket?: SharedSocket | undefined;
  openData?: ((data: DataRequest) => Promise<TcpConnection>) | undefined;
}

/** Passes what comes from the server to its present receiver: first the request, then the allocation. */
interface Inbox {
  frame(data: Uint8Array, from: Endpoint): void;
  lost(error: StunError): void;
}

/** An allocation that was granted, as it receives what comes from the server. */
interface Receiver {
  handle(frame: Uint8Array, from: Endpoint): boolean;
  lose(error: StunError): void;
}

type Create<Allocation extends Receiver> = (parts: TurnAllocationParts) => Allocation;

/** Requests an allocation over a socket or connection of its own; see {@link TurnAllocation.connect}. */
export async function allocate<Allocation extends Receiver>(
  components: TurnClientComponents & { network: Network },
  options: AllocateOptions & OwnTransportOptions,
  create: Create<Allocation>,
): Promise<Allocation> {
  const transport = options.transport ?? 'udp';
  return retryAllocate(options, async (server, attempt) => {
    const inbox: Inbox = { frame() {}, lost() {} };
    // The signal ends the request only; it does not end the allocation later.
    options.signal?.throwIfAborted();
    const channel = await openStunTransport(components, server, {
      transport,
      tls: options.tls,
      localAddress: options.localAddress,
      // The port of the first attempt may be the one that the server still knows (437).
      localPort: attempt === 0 ? options.localPort : undefined,
      onFrame: (data, from) => inbox.frame(data, from),
      onClose: (error) => inbox.lost(error),
      openSignal: options.signal,
      openLimitMs: options.reliableTimeoutMs,
    });
    const tls = transport === 'tls' ? (options.tls ?? {}) : undefined;
    const link: ServerLink = {
      stream: isStream(transport),
      send: (data) => channel.send(data),
      release: () => channel.close(),
      openData: isStream(transport) ? (data) => openDataConnection({ ...components, ...data, server, tls }) : undefined,
    };
    try {
      return await allocateOver(components, options, { server, link, inbox, create });
    } catch (error) {
      await channel.close();
      throw error;
    }
  });
}

/** Requests an allocation over a UDP socket that carries other traffic too; see {@link TurnAllocation.open}. */
export async function allocateOn<Allocation extends Receiver>(
  components: TurnClientComponents & { socket: SharedSocket },
  options: AllocateOptions,
  create: Create<Allocation>,
): Promise<Allocation> {
  const { socket } = components;
  return retryAllocate(options, async (server, attempt) => {
    const inbox: Inbox = { frame() {}, lost() {} };
    const route = socket.route(
      (data, from) => sameEndpoint(from, server) && isTurn(data),
      (data, from) => inbox.frame(data, from),
    );
    const link: ServerLink = {
      stream: false,
      socket,
      send: (data) => socket.send(data, server),
      release: async () => route[Symbol.dispose](),
    };
    try {
      if (attempt > 0) await releaseOld(components, options, server, link, inbox);
      return await allocateOver(components, options, { server, link, inbox, create });
    } catch (error) {
      route[Symbol.dispose]();
      throw error;
    }
  });
}

/** ChannelData, or STUN with another method than Binding. */
function isTurn(data: Uint8Array): boolean {
  return isChannelData(data) || (isStun(data) && methodOf((data[0]! << 8) | data[1]!) !== Method.Binding);
}

/** Releases what an earlier run of the program, or a lost answer, has left on the server for this socket (437). */
async function releaseOld(
  { clock, random }: TurnClientComponents,
  options: AllocateOptions,
  server: Endpoint,
  link: ServerLink,
  inbox: Inbox,
): Promise<void> {
  const transactions = new StunTransactions({ clock, random, send: (data) => link.send(data) }, options);
  inbox.frame = (data, from) => {
    const result = decodeStun(data);
    if (result.ok) transactions.handle(result.message, from);
  };
  try {
    await requestWithAuth(transactions, new LongTermAuth(options.credentials), server, {
      method: Method.Refresh,
      signal: options.signal,
      write: (writer) => writer.add(attr.lifetime, 0),
    });
  } catch (error) {
    // Another user's allocation (441), or none any more: the next Allocate tells.
    if (!(error instanceof StunError)) throw error;
  }
}

/** Runs `attempt` until it does not end in a redirect or a clash of addresses. */
async function retryAllocate<Allocation>(
  options: AllocateOptions,
  attempt: (server: Endpoint, count: number) => Promise<Allocation>,
): Promise<Allocation> {
  const tried = new Set<string>();
  let server = options.server;
  for (let count = 0; ; count++) {
    try {
      return await attempt(server, count);
    } catch (error) {
      if (count >= MAX_REDIRECTS || !(error instanceof StunError)) throw error;
      const code = error.response?.code;
      tried.add(formatEndpoint(server));
      const next = code === StunErrorCode.TryAlternate ? error.alternate : undefined;
      if (next !== undefined && !tried.has(formatEndpoint(next))) server = next;
      else if (code !== StunErrorCode.AllocationMismatch) throw error;
    }
  }
}

async function allocateOver<Allocation extends Receiver>(
  components: TurnClientComponents,
  options: AllocateOptions,
  over: { server: Endpoint; link: ServerLink; inbox: Inbox; create: Create<Allocation> },
): Promise<Allocation> {
  const { clock, random, log } = components;
  const { server, link, inbox, create } = over;
  const auth = new LongTermAuth(options.credentials);
  const transactions = new StunTransactions(
    { clock, random, reliable: link.stream, send: (data) => link.send(data) },
    options,
  );
  inbox.frame = (data, from) => {
    const result = decodeStun(data);
    if (result.ok) transactions.handle(result.message, from);
  };
  inbox.lost = (error) => transactions.close(error);
  const { message } = await requestWithAuth(transactions, auth, server, {
    method: Method.Allocate,
    signal: options.signal,
    write: (writer) => {
      writer.add(attr.requestedTransport, options.peerTransport === 'tcp' ? TCP : UDP);
      writer.add(attr.lifetime, Math.ceil((options.lifetimeMs ?? DEFAULT_LIFETIME_MS) / 1000));
      if (options.family === 'dual') writer.add(attr.additionalAddressFamily, 6);
      else if (options.family !== undefined) writer.add(attr.requestedAddressFamily, options.family);
    },
  });
  const allocation = create({
    clock,
    random,
    log,
    transactions,
    auth,
    server,
    plain: link.socket && { socket: link.socket, credentials: options.credentials },
    stream: link.stream,
    grant: grantOf(message, server),
    handlers: options.handlers,
    keepAliveMs: options.keepAliveMs ?? DEFAULT_KEEP_ALIVE_MS,
    send: (data) => link.send(data),
    openData: link.openData,
    release: () => link.release(),
  });
  inbox.frame = (data, from) => {
    allocation.handle(data, from);
  };
  inbox.lost = (error) => allocation.lose(error);
  return allocation;
}

/** Protocol numbers of REQUESTED-TRANSPORT. */
const UDP = 17;
const TCP = 6;

const DEFAULT_LIFETIME_MS = 600_000;

/** Most NATs keep a UDP mapping for 30 s or longer (RFC 4787 §4.3 asks for two minutes). */
const DEFAULT_KEEP_ALIVE_MS = 15_000;

function grantOf(message: StunMessage, server: Endpoint): Grant {
  const relayed = message.all(attr.xorRelayedAddress);
  const mapped = message.get(attr.xorMappedAddress);
  const lifetime = message.get(attr.lifetime);
  if (relayed.length === 0 || mapped === undefined || !lifetime) {
    const target = formatEndpoint(server);
    throw new StunError(
      'stun-bad-response',
      `${target} answered Allocate without relayed address, mapped address or lifetime.`,
      { target },
    );
  }
  return { relayed, mapped, lifetimeMs: lifetime * 1000 };
}

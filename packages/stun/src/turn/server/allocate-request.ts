import * as attr from '../../message/attributes.ts';
import { reasonOf, StunErrorCode } from '../../message/error-codes.ts';
import { Method, MessageClass, TRANSACTION_ID_BYTES } from '../../message/header.ts';
import type { StunMessage } from '../../message/stun-message.ts';
import { StunWriter } from '../../message/stun-writer.ts';
import { formatEndpoint } from '@towpath/net';
import { Allocation } from './allocation.ts';
import type { RelaySocket } from './relay-ports.ts';
import { type PeerConnection, TcpRelay } from './tcp-relay.ts';
import {
  type Authenticated,
  keepUntilExpiry,
  lifetimeFor,
  Refusal,
  type RequestContext,
  refusalOf,
  startExpiry,
  success,
} from './turn-requests.ts';

/** Protocol numbers of REQUESTED-TRANSPORT (RFC 8656 §18.8, RFC 6062 §5.1). */
const UDP = 17;
const TCP = 6;

/** Ports that were opened for an allocation. */
interface Opened {
  relays: RelaySocket[];
  token?: Uint8Array | undefined;
  /** The second family of a dual allocation could not be given (RFC 8656 §18.12). */
  missing?: { family: 4 | 6; code: StunErrorCode };
}

/** Allocate (RFC 8656 §7.2, RFC 6062 §5.1). */
export async function handleAllocate(
  context: RequestContext,
  authenticated: Authenticated,
): Promise<Uint8Array | Refusal | undefined> {
  const { request, link, identity } = authenticated;
  const { table } = context;
  const existing = table.of(link);
  if (existing === 'pending') return undefined;
  if (existing !== undefined) {
    const repeated = Buffer.compare(existing.transactionId, request.transactionId) === 0;
    return repeated && existing.response !== undefined
      ? existing.response
      : new Refusal(StunErrorCode.AllocationMismatch);
  }
  const refused = malformed(context, authenticated);
  if (refused !== undefined) return refused;
  const { alternate } = context;
  if (alternate !== undefined) {
    return new Refusal(StunErrorCode.TryAlternate, (writer) => writer.add(attr.alternateServer, alternate));
  }
  const reached = table.begin(link, identity.user, request.get(attr.reservationToken));
  if (reached !== undefined) return quotaReached(context, reached);
  const allocation = new Allocation(context, {
    link,
    identity,
    transactionId: Uint8Array.from(request.transactionId),
  });
  try {
    const opened =
      request.get(attr.requestedTransport) === TCP
        ? await openTcp(context, allocation, request)
        : await openUdp(context, request, identity.user);
    if (opened instanceof Refusal) {
      table.release(link);
      return opened;
    }
    return commit(context, authenticated, allocation, opened);
  } catch (error) {
    table.release(link);
    return refusalOf(context, error);
  }
}

function quotaReached({ counters }: RequestContext, quota: string): Refusal {
  counters.quotaReached[quota] = (counters.quotaReached[quota] ?? 0) + 1;
  return new Refusal(StunErrorCode.AllocationQuotaReached);
}

function commit(
  context: RequestContext,
  authenticated: Authenticated,
  allocation: Allocation,
  opened: Opened,
): Uint8Array | undefined {
  const { request, link } = authenticated;
  for (const relay of opened.relays) allocation.attach(relay);
  // The client may have disconnected, or the server been closed, while the ports were opened.
  if (context.table.of(link) !== 'pending') {
    allocation.close().catch((error: unknown) => context.log.warn('a relay socket did not close', { error }));
    return undefined;
  }
  context.table.commit(allocation);
  context.counters.allocated++;
  keepUntilExpiry(context, allocation, authenticated.identity);
  const lifetimeMs = lifetimeFor(context, request, allocation);
  startExpiry(context, allocation, lifetimeMs);
  const announced =
    allocation.tcp === undefined ? opened.relays.map((relay) => relay.announced) : [allocation.tcp.announced];
  context
    .logOf(authenticated.identity.user)
    .info('allocated', { client: formatEndpoint(link.remote), relayed: announced.map(formatEndpoint) });
  allocation.response = success(context, authenticated, (writer) => {
    for (const endpoint of announced) writer.add(attr.xorRelayedAddress, endpoint);
    writer
      .add(attr.lifetime, lifetimeMs / 1000)
      .add(attr.xorMappedAddress, link.remote)
      .addIf(attr.reservationToken, opened.token);
    const { missing } = opened;
    if (missing !== undefined) {
      writer.add(attr.addressErrorCode, { ...missing, reason: reasonOf(missing.code) });
    }
  });
  return allocation.response;
}

/** Checks that need no socket. */
function malformed(context: RequestContext, { request, link }: Authenticated): Refusal | undefined {
  const bad = new Refusal(StunErrorCode.BadRequest);
  const transport = request.get(attr.requestedTransport);
  if (transport === undefined) return bad;
  if (transport !== UDP && (transport !== TCP || context.shared))
    return new Refusal(StunErrorCode.UnsupportedTransport);
  const family = request.get(attr.requestedAddressFamily);
  const additional = request.get(attr.additionalAddressFamily);
  if (request.has(attr.requestedAddressFamily) && family === undefined)
    return new Refusal(StunErrorCode.AddressFamilyNotSupported);
  const reserved = request.has(attr.reservationToken);
  const even = request.has(attr.evenPort);
  const anyFamily = request.has(attr.requestedAddressFamily) || request.has(attr.additionalAddressFamily);
  if (reserved && (even || anyFamily || request.get(attr.reservationToken) === undefined)) return bad;
  if (request.has(attr.requestedAddressFamily) && request.has(attr.additionalAddressFamily)) return bad;
  // Only IPv6 can be asked for in addition (RFC 8656 §7.2), and not together with a second port.
  if (request.has(attr.additionalAddressFamily) && additional !== 6) return bad;
  if (additional !== undefined && request.get(attr.evenPort) === true) return bad;
  if (transport === TCP && (link.transport === 'udp' || reserved || even || additional !== undefined)) return bad;
  if (!reserved && !context.ports.supports(family ?? 4)) return new Refusal(StunErrorCode.AddressFamilyNotSupported);
  return undefined;
}

async function openUdp(context: RequestContext, request: StunMessage, user: string): Promise<Opened | Refusal> {
  const { ports, table } = context;
  const full = new Refusal(StunErrorCode.InsufficientCapacity);
  const token = request.get(attr.reservationToken);
  if (token !== undefined) {
    const relay = table.claim(token, user);
    return relay === undefined ? full : { relays: [relay] };
  }
  const family = request.get(attr.requestedAddressFamily) ?? 4;
  const reserveNext = request.get(attr.evenPort);
  if (reserveNext !== undefined) {
    const reached = reserveNext ? table.reservationLimit(user) : undefined;
    if (reached !== undefined) return quotaReached(context, reached);
    const pair = await ports.evenUdp(family, reserveNext);
    if (pair === undefined) return full;
    // Asked again: other requests of the user may have been served while the ports were opening.
    const since = pair.odd && table.reservationLimit(user);
    if (pair.odd !== undefined && since !== undefined) {
      await Promise.all([pair.even.socket.close(), pair.odd.socket.close()]);
      return quotaReached(context, since);
    }
    return { relays: [pair.even], token: pair.odd && table.reserve(pair.odd, user) };
  }
  const first = await ports.udp(family);
  if (first === undefined) return full;
  const additional = request.get(attr.additionalAddressFamily);
  if (additional === undefined) return { relays: [first] };
  const second = await ports.udp(additional).catch(async (error: unknown) => {
    await first.socket.close();
    throw error;
  });
  if (second !== undefined) return { relays: [first, second] };
  const code = ports.supports(additional)
    ? StunErrorCode.InsufficientCapacity
    : StunErrorCode.AddressFamilyNotSupported;
  return { relays: [first], missing: { family: additional, code } };
}

async function openTcp(
  context: RequestContext,
  allocation: Allocation,
  request: StunMessage,
): Promise<Opened | Refusal> {
  const opened = await context.ports.tcp(request.get(attr.requestedAddressFamily) ?? 4, {
    onConnection: (connection) => {
      if (allocation.tcp !== undefined) return allocation.tcp.accept(connection);
      connection.destroy();
      return { onData() {} };
    },
  });
  if (opened === undefined) return new Refusal(StunErrorCode.InsufficientCapacity);
  const { network, clock, random, table } = context;
  allocation.tcp = new TcpRelay(
    {
      identity: allocation.identity,
      client: allocation.link,
      network,
      clock,
      random,
      connections: table.connections,
      permitted: (address) => allocation.permitted(address),
      throttle: (bytes) => allocation.throttle(bytes),
      attempted: (connection) => allocation.link.send(connectionAttempt(context, connection)),
    },
    opened.listener,
    opened.announced,
    opened.address,
  );
  return { relays: [] };
}

/** ConnectionAttempt (RFC 6062 §5.3). */
function connectionAttempt(context: RequestContext, { id, peer }: PeerConnection): Uint8Array {
  return new StunWriter(MessageClass.Indication, Method.ConnectionAttempt, context.random.bytes(TRANSACTION_ID_BYTES))
    .add(attr.connectionId, id)
    .add(attr.xorPeerAddress, peer)
    .finish();
}

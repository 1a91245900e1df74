import { errorCode, type Log } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import * as attr from '../../message/attributes.ts';
import { MAX_LEGACY_CHANNEL, MIN_CHANNEL } from '../../message/channel-data.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { MessageClass, Method } from '../../message/header.ts';
import type { StunMessage } from '../../message/stun-message.ts';
import { StunWriter } from '../../message/stun-writer.ts';
import { errorResponse } from '../../server/binding-responder.ts';
import type { Allocation, AllocationContext } from './allocation.ts';
import type { Allocations } from './allocations.ts';
import type { Identity } from './authenticator.ts';
import type { ClientLink } from './client-link.ts';
import { DEFAULT_LIFETIME_MS } from './options.ts';

/** What every request handler works on. */
export interface RequestContext extends AllocationContext {
  readonly network: Network;
  readonly log: Log;
  /** The log for what one user causes, which is limited per user. */
  logOf(user: string): Log;
  readonly table: Allocations;
  readonly software: string | undefined;
  readonly maxLifetimeMs: number;
  /** Other processes serve the same ports. */
  readonly shared: boolean;
  /** Where new clients are sent instead, while the server drains (RFC 8656 §7.2, 300). */
  readonly alternate: Endpoint | undefined;
  /** Ends an allocation and closes its sockets. */
  end(allocation: Allocation, why: string): void;
}

/** A request whose sender is proven. */
export interface Authenticated {
  readonly request: StunMessage;
  readonly link: ClientLink;
  readonly identity: Identity;
}

/** An error that is answered and counted. */
export class Refusal {
  readonly code: StunErrorCode;
  readonly write: ((writer: StunWriter) => void) | undefined;

  constructor(code: StunErrorCode, write?: (writer: StunWriter) => void) {
    this.code = code;
    this.write = write;
  }
}

/** A success response with the given attributes, signed as the request was. */
export function success(
  context: RequestContext,
  { request, identity }: Authenticated,
  write?: (writer: StunWriter) => void,
): Uint8Array {
  const writer = new StunWriter(MessageClass.Success, request.method, request.transactionId);
  write?.(writer);
  writer.addIf(attr.software, context.software);
  return writer.integrity(identity.key, identity.integrity).finish();
}

/** An error response, signed as the request was. */
export function refusal(context: RequestContext, { request, identity }: Authenticated, refused: Refusal): Uint8Array {
  context.counters.refused[refused.code] = (context.counters.refused[refused.code] ?? 0) + 1;
  const writer = errorResponse(request, refused.code);
  refused.write?.(writer);
  return writer.integrity(identity.key, identity.integrity).finish();
}

/**
 * The lifetime to grant (RFC 8656 §7.2): what was asked for, at least the default, at most the limit; never beyond the
 * client's credentials. Whole seconds.
 */
export function lifetimeFor(context: RequestContext, request: StunMessage, allocation: Allocation): number {
  const asked = (request.get(attr.lifetime) ?? 0) * 1000;
  const wanted = Math.min(context.maxLifetimeMs, Math.max(DEFAULT_LIFETIME_MS, asked));
  const { credentialsUntilMs = Number.POSITIVE_INFINITY } = allocation;
  const leftMs = Math.max(1, Math.ceil((credentialsUntilMs - context.clock.wallTime()) / 1000)) * 1000;
  return Math.min(wanted, leftMs);
}

/** The system's clock may be set: the rest of the credentials' life is calculated again after this time, ms. */
const CREDENTIALS_CHECK_MS = 60_000;

/**
 * Ends the allocation when the newest credentials that its client has shown expire, with permissions, channels and
 * everything that forwards for it.
 */
export function keepUntilExpiry(context: RequestContext, allocation: Allocation, { expiresAtMs }: Identity): void {
  const { clock } = context;
  if (expiresAtMs === undefined || expiresAtMs <= (allocation.credentialsUntilMs ?? 0)) return;
  allocation.credentialsUntilMs = expiresAtMs;
  allocation.credentialExpiry?.cancel();
  const wait = () => {
    const leftMs = Math.max(0, expiresAtMs - clock.wallTime());
    allocation.credentialExpiry = clock.timer(Math.min(leftMs, CREDENTIALS_CHECK_MS), () => {
      if (clock.wallTime() < expiresAtMs) wait();
      else context.end(allocation, 'its credentials expired');
    });
  };
  wait();
}

/** (Re)starts the timer that ends an allocation. */
export function startExpiry(context: RequestContext, allocation: Allocation, lifetimeMs: number): void {
  allocation.expiry?.cancel();
  allocation.expiry = context.clock.timer(lifetimeMs, () => context.end(allocation, 'expired'));
}

/** Refresh (RFC 8656 §7.3). */
export function handleRefresh(
  context: RequestContext,
  authenticated: Authenticated,
  allocation: Allocation,
): Uint8Array | Refusal {
  const { request } = authenticated;
  const family = request.get(attr.requestedAddressFamily);
  const named = request.has(attr.requestedAddressFamily);
  if (named && (family === undefined || !allocation.hasFamily(family)))
    return new Refusal(StunErrorCode.PeerAddressFamilyMismatch);
  const asked = request.get(attr.lifetime);
  if (request.has(attr.lifetime) && asked === undefined) return new Refusal(StunErrorCode.BadRequest);
  if (asked === 0) {
    endFamily(context, allocation, family);
    return success(context, authenticated, (writer) => writer.add(attr.lifetime, 0));
  }
  const lifetimeMs = lifetimeFor(context, request, allocation);
  startExpiry(context, allocation, lifetimeMs);
  return success(context, authenticated, (writer) => writer.add(attr.lifetime, lifetimeMs / 1000));
}

/** Ends one family of a dual allocation, or the allocation. */
function endFamily(context: RequestContext, allocation: Allocation, family: 4 | 6 | undefined): void {
  const relays = allocation.relays();
  if (family === undefined || relays.length < 2) {
    context.end(allocation, 'released by its client');
    return;
  }
  for (const relay of relays) if (relay.family === family) context.table.dropPort(relay.announced);
  allocation.drop(family).catch((error: unknown) => context.log.warn('a relay socket did not close', { error }));
}

/** CreatePermission (RFC 8656 §10.2): all of the addresses or none. */
export function handleCreatePermission(
  context: RequestContext,
  authenticated: Authenticated,
  allocation: Allocation,
): Uint8Array | Refusal {
  const { request } = authenticated;
  const peers = request.all(attr.xorPeerAddress);
  const sent = request.types().filter((type) => type === attr.xorPeerAddress.type).length;
  if (peers.length === 0 || peers.length !== sent) return new Refusal(StunErrorCode.BadRequest);
  for (const { address } of peers) {
    const refused = forbidden(context, allocation, address);
    if (refused !== undefined) return refused;
  }
  const addresses = peers.map(({ address }) => address);
  if (!allocation.roomFor(addresses)) return new Refusal(StunErrorCode.InsufficientCapacity);
  for (const address of addresses) allocation.permit(address);
  return success(context, authenticated);
}

/** ChannelBind (RFC 8656 §12.2). */
export function handleChannelBind(
  context: RequestContext,
  authenticated: Authenticated,
  allocation: Allocation,
): Uint8Array | Refusal {
  const { request } = authenticated;
  const channel = request.get(attr.channelNumber);
  const peer = request.get(attr.xorPeerAddress);
  if (channel === undefined || peer === undefined || peer.port === 0) return new Refusal(StunErrorCode.BadRequest);
  if (channel < MIN_CHANNEL || channel > MAX_LEGACY_CHANNEL || allocation.tcp !== undefined)
    return new Refusal(StunErrorCode.BadRequest);
  const refused = forbidden(context, allocation, peer.address);
  if (refused !== undefined) return refused;
  switch (allocation.bindChannel(channel, peer)) {
    case 'bound':
      return success(context, authenticated);
    case 'conflict':
      return new Refusal(StunErrorCode.BadRequest);
    case 'full':
      return new Refusal(StunErrorCode.InsufficientCapacity);
  }
}

/** The answer to a ChannelBind that has succeeded and asks for plain relaying (docs/protocol/turn-plain.md). */
export async function handlePlain(
  context: RequestContext,
  authenticated: Authenticated,
  allocation: Allocation,
): Promise<Uint8Array> {
  const port = await allocation
    .openPlain(authenticated.request.get(attr.channelNumber) ?? 0)
    .catch((error: unknown) => void context.log.warn('a plain port was not opened', { code: errorCode(error), error }));
  return success(context, authenticated, (writer) => writer.addIf(attr.xorPlainAddress, port?.announced));
}

/** Connect (RFC 6062 §5.2). */
export async function handleConnect(
  context: RequestContext,
  authenticated: Authenticated,
  allocation: Allocation,
): Promise<Uint8Array | Refusal> {
  const peer = authenticated.request.get(attr.xorPeerAddress);
  if (peer === undefined || peer.port === 0 || allocation.tcp === undefined)
    return new Refusal(StunErrorCode.BadRequest);
  const refused = forbidden(context, allocation, peer.address);
  if (refused !== undefined) return refused;
  const local = context.table.tcpRelay(peer);
  if (local === undefined && context.policy.isOwn(peer.address)) return new Refusal(StunErrorCode.Forbidden);
  const connection = local === undefined ? await allocation.tcp.connect(peer) : allocation.tcp.connectLocally(local);
  if (connection === 'exists') return new Refusal(StunErrorCode.ConnectionAlreadyExists);
  if (connection === 'full') return new Refusal(StunErrorCode.InsufficientCapacity);
  if (connection === 'failed') return new Refusal(StunErrorCode.ConnectionTimeoutOrFailure);
  return success(context, authenticated, (writer) => writer.add(attr.connectionId, connection.id));
}

/** Returns the error for a peer's address; undefined when it is allowed. */
function forbidden(context: RequestContext, allocation: Allocation, address: string): Refusal | undefined {
  if (!allocation.hasFamily(address.includes(':') ? 6 : 4)) return new Refusal(StunErrorCode.PeerAddressFamilyMismatch);
  if (context.policy.allows(address)) return undefined;
  context
    .logOf(allocation.identity.user)
    .info('peer address is not allowed; --allow-peer NETWORK allows private and special networks', {
      client: formatEndpoint(allocation.link.remote),
      address,
    });
  return new Refusal(StunErrorCode.Forbidden);
}

/** Turns what a socket call threw into an answer. */
export function refusalOf(context: RequestContext, error: unknown): Refusal {
  context.log.warn('a request failed', { code: errorCode(error), error });
  return new Refusal(StunErrorCode.InsufficientCapacity);
}

/** Methods that need an allocation. */
export const ALLOCATION_METHODS: ReadonlySet<number> = new Set([
  Method.Refresh,
  Method.CreatePermission,
  Method.ChannelBind,
  Method.Connect,
]);

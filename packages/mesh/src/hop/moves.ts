import { backoff, type Clock, type Random } from '@towpath/core';
import { type Endpoint, sameEndpoint } from '@towpath/net';
import type { PeerEndpointControl } from './endpoint-control.ts';
import type { SpliceEntry } from './splice-control.ts';

interface MoveComponents {
  clock: Clock;
  random: Random;
  wireGuard: PeerEndpointControl;
}

interface Move {
  readonly entry: SpliceEntry;
  readonly publicKey: Uint8Array;
  /** The peer's loopback port. */
  readonly hop: Endpoint;
  /** Makes WireGuard send something to the peer that is answered. */
  sendEcho(): void;
}

/** Checks of a counter or an endpoint: 5, 10, 20, 40 … 200 ms apart, about two seconds in all. */
const CHECKS = { baseMs: 5, maxMs: 200, count: 14 };

/**
 * Moves a peer from the hop to the splice, in the order of docs/protocol/connectivity.md, "Moving between hop and
 * splice": outbound rule, endpoint and an echo at once, counter, inbound rule.
 * @returns false when nothing was sent through the splice in two seconds; the caller then goes back to the hop.
 * @throws what the splice or WireGuard throws; the signal's reason when it aborts.
 */
export async function moveToSplice(
  { clock, random, wireGuard }: MoveComponents,
  { entry, publicKey, remote, sendEcho, signal }: Move & { remote: Endpoint; signal: AbortSignal },
): Promise<boolean> {
  await entry.addOutbound();
  const before = (await entry.counters()).outboundPackets;
  for (const delayMs of backoff({ ...CHECKS, random })) {
    signal.throwIfAborted();
    // What arrives over the hop meanwhile makes WireGuard roam back: the endpoint is set again until one packet left.
    await wireGuard.setEndpoint(publicKey, remote, signal);
    sendEcho();
    await clock.sleep(delayMs, signal);
    if ((await entry.counters()).outboundPackets > before) {
      await entry.addInbound();
      await wireGuard.setEndpoint(publicKey, remote, signal);
      sendEcho();
      return true;
    }
  }
  return false;
}

/**
 * Moves a peer from the splice to the hop: inbound rule away, then WireGuard's endpoint, then the outbound rule. Also
 * right when the move to the splice was left half way.
 * @returns false when WireGuard kept another endpoint; the outbound rule then stays, so that packets leave from the
 *   right port.
 */
export async function moveToHop(
  { clock, random, wireGuard }: MoveComponents,
  { entry, publicKey, hop, sendEcho }: Move,
): Promise<boolean> {
  await entry.removeInbound();
  for (const delayMs of backoff({ ...CHECKS, random })) {
    if (!(await isOnHop(wireGuard, publicKey, hop))) await wireGuard.setEndpoint(publicKey, hop);
    sendEcho();
    // What WireGuard had already received from the peer's address makes it roam back: look again a moment later.
    await clock.sleep(delayMs);
    if (!(await isOnHop(wireGuard, publicKey, hop))) continue;
    await entry.removeOutbound();
    return true;
  }
  return false;
}

async function isOnHop(wireGuard: PeerEndpointControl, publicKey: Uint8Array, hop: Endpoint): Promise<boolean> {
  const peer = await wireGuard.peer(publicKey);
  // A peer that WireGuard does not know any more sends nothing.
  return peer === undefined || (peer.endpoint !== undefined && sameEndpoint(peer.endpoint, hop));
}

import { AbortedError, backoff, type Clock, type Random } from '@towpath/core';
import { type Endpoint, inSubnet, type Network, subnetOf } from '@towpath/net';
import { PortmapError } from './portmap-error.ts';

/** Where PCP and NAT-PMP listen. RFC 6886 §1.1, RFC 6887 §19.1. */
export const GATEWAY_PORT = 5351;

/**
 * First repetition after 250 ms, then doubled (RFC 6886 §3.1). The RFC goes on for 64 s; a gateway in the same room
 * answers in milliseconds, and nobody waits a minute for a mapping.
 */
const FIRST_REPEAT_MS = 250;
const REPEATS = 3;

export interface GatewayComponents {
  network: Network;
  clock: Clock;
  random: Random;
}

/**
 * Sends a request to the gateway, repeats it, and returns the first answer that `accept` understands.
 * Only datagrams from the gateway itself count (RFC 6886 §3.2.1, RFC 6887 §8.3).
 * @throws PortmapError `no-answer`, NetError, or the signal's reason.
 */
export async function askGateway<Answer>(
  { network, clock, random }: GatewayComponents,
  gateway: Endpoint,
  build: (localAddress: string) => Uint8Array,
  accept: (data: Uint8Array) => Answer | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted();
  const answer = Promise.withResolvers<Answer>();
  answer.promise.catch(() => undefined);
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  const address = localAddressTowards(network, gateway.address);
  await using socket = await network.bindUdp({
    ...(address === undefined ? {} : { address }),
    family: gateway.address.includes(':') ? 6 : 4,
    signal: either,
    onMessage: (data, from) => {
      if (from.address !== gateway.address || from.port !== gateway.port) return;
      const accepted = accept(data);
      if (accepted !== undefined) answer.resolve(accepted);
    },
    onError: (error) =>
      answer.reject(
        new PortmapError('no-answer', `The gateway ${gateway.address} refuses port ${gateway.port}.`, {
          target: gateway.address,
          cause: error,
        }),
      ),
  });
  const datagram = build(address ?? socket.local.address);
  const repeat = async () => {
    socket.send(datagram, gateway);
    for (const delayMs of backoff({ baseMs: FIRST_REPEAT_MS, maxMs: 4_000, count: REPEATS, random })) {
      await clock.sleep(delayMs, either);
      socket.send(datagram, gateway);
    }
    await clock.sleep(FIRST_REPEAT_MS, either);
    throw new PortmapError('no-answer', `The gateway ${gateway.address} does not answer on port ${gateway.port}.`, {
      target: gateway.address,
    });
  };
  const repeating = repeat();
  try {
    return await Promise.race([answer.promise, repeating]);
  } finally {
    done.abort(new AbortedError('Answered.'));
    await repeating.catch(() => undefined);
  }
}

/** Our address in the gateway's own network; undefined when no interface is in it. */
export function localAddressTowards(network: Network, gateway: string): string | undefined {
  return network
    .interfaces()
    .toSorted((a, b) => b.prefixLength - a.prefixLength)
    .find(({ address, prefixLength }) => {
      const subnet = subnetOf(address, prefixLength);
      return subnet !== undefined && inSubnet(gateway, subnet);
    })?.address;
}

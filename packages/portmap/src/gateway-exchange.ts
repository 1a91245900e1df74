import { type Clock, errorMessage, type Random, retransmit } from '@towpath/core';
import { type Endpoint, inSubnet, type Network, subnetOf } from '@towpath/net';
import { PortmapError } from './portmap-error.ts';

/** Port of PCP and NAT-PMP. RFC 6886 §1.1, RFC 6887 §19.1. */
export const GATEWAY_PORT = 5351;

/**
 * Wait after each transmission, ms: 250 ms first, then doubled (RFC 6886 §3.1). The RFC continues for 64 s; a gateway in
 * the local network answers in milliseconds.
 */
const SCHEDULE_MS: readonly number[] = [250, 500, 500];

export interface GatewayComponents {
  network: Network;
  clock: Clock;
  random: Random;
}

/** Result of reading a datagram: the answer, a datagram that contradicts the request, or an unrelated one. */
export type Accepted<Answer> = { answer: Answer } | { wrong: string } | undefined;

export interface GatewayQuestion<Answer> {
  /** @param localAddress our address as the gateway must see it */
  build(localAddress: string): Uint8Array;
  accept(data: Uint8Array): Accepted<Answer>;
  /** Local address to send from; the one in the gateway's network if absent. */
  localAddress?: string | undefined;
}

/**
 * Sends a request to the gateway, retransmits it, and returns the first answer that `accept` accepts. Only datagrams from
 * the gateway are read (RFC 6886 §3.2.1, RFC 6887 §8.3); answers to another request are rejected.
 * @throws PortmapError `no-answer`, `bad-answer` when only rejected answers arrived; NetError; the signal's reason.
 */
export async function askGateway<Answer>(
  { network, clock }: GatewayComponents,
  gateway: Endpoint,
  question: GatewayQuestion<Answer>,
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted();
  const answer = Promise.withResolvers<Answer>();
  answer.promise.catch(() => undefined);
  const target = gateway.address;
  const address = question.localAddress ?? localAddressTowards(network, target);
  let wrong: string | undefined;
  await using socket = await network.bindUdp({
    address,
    family: target.includes(':') ? 6 : 4,
    // Connected: a closed port is reported at once, and datagrams from other hosts are not received.
    remote: gateway,
    signal,
    onMessage(data) {
      const accepted = question.accept(data);
      if (accepted === undefined) return;
      if ('answer' in accepted) answer.resolve(accepted.answer);
      else wrong = accepted.wrong;
    },
    onError: (cause) => {
      const message = `The gateway ${target} has closed port ${gateway.port} (${errorMessage(cause)}).`;
      answer.reject(new PortmapError('no-answer', message, { target, cause }));
    },
  });
  const datagram = question.build(socket.local.address);
  return await retransmit({
    clock,
    schedule: SCHEDULE_MS,
    send: () => socket.send(datagram, gateway),
    answer: answer.promise,
    signal,
    timeoutError: () =>
      wrong === undefined
        ? new PortmapError('no-answer', `The gateway ${target} does not answer on port ${gateway.port}.`, { target })
        : new PortmapError('bad-answer', `The gateway ${target} sent invalid answers: ${wrong}.`, { target }),
  });
}

/** Returns our address in the gateway's network; undefined when no interface is in it. */
export function localAddressTowards(network: Network, gateway: string): string | undefined {
  return network
    .interfaces()
    .toSorted((a, b) => b.prefixLength - a.prefixLength)
    .find(({ address, prefixLength }) => {
      const subnet = subnetOf(address, prefixLength);
      return subnet !== undefined && inSubnet(gateway, subnet);
    })?.address;
}

/** Returns whether `address` is in the network of our own address, where the next router on the path is. */
export function onLink(network: Network, localAddress: string, address: string): boolean {
  const own = network.interfaces().find((one) => one.address === localAddress);
  const subnet = own && subnetOf(own.address, own.prefixLength);
  return subnet !== undefined && inSubnet(address, subnet);
}

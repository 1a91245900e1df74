import { SeededRandom } from '@towpath/core';
import type { Network } from '@towpath/net';
import { RelayPlane, STUN_PATTERN } from '@towpath/splice';
import { FakeKernel } from '@towpath/splice/testing';
import { beforeEach, describe } from 'vitest';
import { beginsLikeStun } from '../../src/message/header.ts';
import { KernelNetwork } from './kernel-network.ts';
import type { World } from './internet.ts';

/** Where relayed data passes. */
export const PLANES = ['user', 'kernel'] as const;
export type Plane = (typeof PLANES)[number];

const now: { plane: Plane } = { plane: 'user' };

/** Runs tests with relays of either data plane: results have to be the same. */
export function describeInBothPlanes(title: string, body: () => void): void {
  describe.each(PLANES)(`${title}, %s data plane`, (plane) => {
    beforeEach(() => {
      now.plane = plane;
    });
    body();
  });
}

/** Returns the data plane of the test that runs. */
export function presentPlane(): Plane {
  return now.plane;
}

/** Makes the end of a server also that of its plane. */
export function closeWith<Server extends { close(): Promise<void> }>(
  server: Server,
  plane: RelayPlane | undefined,
): Server {
  const close = server.close.bind(server);
  server.close = () => close().finally(() => plane?.close());
  return server;
}

/** What a relay of one data plane runs on. */
export interface RelayHost {
  readonly network: Network;
  readonly kernel: FakeKernel;
  readonly plane: RelayPlane | undefined;
  /** Datagrams that did not pass through the server. */
  forwarded(): number;
}

/**
 * Returns a host for a relay, whose kernel forwards in the one plane and not in the other.
 * @param kind @default that of {@link describeInBothPlanes}
 */
export async function relayHost(
  { clock }: Pick<World, 'clock'>,
  { network: inner, addresses }: { network: Network; addresses: readonly string[] },
  kind: Plane = now.plane,
): Promise<RelayHost> {
  const kernel = FakeKernel.host(addresses);
  const network = new KernelNetwork({ network: inner, kernel }, beginsLikeStun);
  const components = { system: kernel, clock, random: new SeededRandom(5) };
  const plane =
    kind === 'user'
      ? undefined
      : await RelayPlane.open(components, { form: 'netdev', addresses, control: [STUN_PATTERN] });
  return { network, kernel, plane, forwarded: () => network.forwarded };
}

import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { RelayPlane } from '@towpath/splice';
import { FakeKernel } from '@towpath/splice/testing';
import { StreamCipher } from '../src/index.ts';
import { relayPlaneOptions } from '../src/relay/server/kernel-sessions.ts';
import type { RelayEvents, RelayOptions } from '../src/relay/server/options.ts';
import { RelayServer } from '../src/relay/server/relay-server.ts';
import { KernelNetwork } from '../../stun/test/support/kernel-network.ts';
import { closeWith, describeInBothPlanes, type Plane, presentPlane } from '../../stun/test/support/planes.ts';

export const RELAY = { address: '198.51.100.7', port: 32_110 };

export { describeInBothPlanes };

export interface RelayWorld {
  readonly clock: VirtualClock;
  readonly internet: SimulatedInternet;
  readonly relay: RelayServer;
  readonly random: SeededRandom;
  readonly kernel: FakeKernel;
  readonly network: KernelNetwork;
  readonly plane: RelayPlane | undefined;
  /** Sessions that are over. */
  readonly ended: RelayEvents['ended'][];
  close(): Promise<void>;
}

/**
 * Opens a relay in a simulated internet; its end is also that of its data plane.
 * @param key cipher of the sessions
 * @param kind @default that of {@link describeInBothPlanes}
 */
export async function relayWorld(
  options: RelayOptions = {},
  key?: string,
  kind: Plane = presentPlane(),
): Promise<RelayWorld> {
  const clock = new VirtualClock();
  const random = new SeededRandom(7);
  const internet = new SimulatedInternet({ clock, random });
  const host = internet.host({ address: RELAY.address });
  const kernel = FakeKernel.host([RELAY.address]);
  const network = new KernelNetwork({ network: host.network, kernel }, (data) => isControl(data, key));
  const plane =
    kind === 'user'
      ? undefined
      : await RelayPlane.open(
          { system: kernel, clock, random: new SeededRandom(5) },
          { form: 'netdev', addresses: [RELAY.address], ...relayPlaneOptions(options) },
        );
  const listening = { sessionPorts: 4, address: RELAY.address, ...options };
  const relay = closeWith(await RelayServer.listen({ network, clock, random, plane }, listening), plane);
  const ended: RelayEvents['ended'][] = [];
  relay.events.on('ended', (event) => void ended.push(event));
  const close = () => relay.close();
  return { clock, internet, relay, random, kernel, network, plane, ended, close };
}

/** What the patterns of the real kernel leave to the server. */
function isControl(data: Uint8Array, key: string | undefined): boolean {
  const clear = key === undefined ? data : new StreamCipher(key).decipher(data);
  return clear[0] !== 0xf1 || (clear[1] !== 0xd0 && clear[1] !== 0xd1) || data.length > 1_472;
}

import { SystemClock, SystemRandom } from '@towpath/core';
import { HostSplice, type KernelRelay, NodeSystem } from '@towpath/splice';
import type { LabHost } from '../../test/system/support/lab.ts';
import { PlainWireGuard } from './plain-wireguard.ts';
import type { RelayLab } from './relay-lab.ts';
import { TcpFlow } from './tcp-flow.ts';

const PLAIN_PORT = 51_820;
const SPLICED_PORT = 51_821;
const PATH_PORT = 40_000;
const RELAYED_PORT = 7_003;
const FLOW_PORT = 9_000;

/** TCP through the tunnel, Mbit/s, by round. */
export interface WireGuardRounds {
  readonly routed: number[];
  readonly relayed: number[];
}

/**
 * WireGuard through a relay in the kernel, both ends spliced, beside plain WireGuard between the same hosts, routed by a
 * third: alternating.
 */
export async function wireGuardRounds(
  lab: RelayLab,
  relay: KernelRelay,
  { rounds, seconds }: { rounds: number; seconds: number },
  print: (line: string) => void,
): Promise<WireGuardRounds> {
  const { a, b } = lab;
  await using stack = new AsyncDisposableStack();
  await relay.open('wireguard', lab.session(lab.relay, PATH_PORT, RELAYED_PORT));
  const at = (port: number) => ({ address: lab.relay.address, port });
  await stack.use(await spliceOn(a)).add(at(RELAYED_PORT));
  await stack.use(await spliceOn(b)).add(at(RELAYED_PORT + 1));
  const relayed = stack.use(
    await PlainWireGuard.open([
      { host: a, listenPort: SPLICED_PORT, endpoint: at(RELAYED_PORT) },
      { host: b, listenPort: SPLICED_PORT, endpoint: at(RELAYED_PORT + 1) },
    ]),
  );
  const routed = stack.use(
    await PlainWireGuard.open([
      { host: a, listenPort: PLAIN_PORT, endpoint: { address: b.address, port: PLAIN_PORT } },
      { host: b, listenPort: PLAIN_PORT, endpoint: { address: a.address, port: PLAIN_PORT } },
    ]),
  );
  const flows = [];
  for (const tunnel of [routed, relayed]) {
    const flow = await TcpFlow.open(a, b, { address: tunnel.addresses[1], port: FLOW_PORT });
    stack.defer(() => flow.close());
    flows.push(flow);
  }
  const found: WireGuardRounds = { routed: [], relayed: [] };
  const [overRouting, overRelay] = flows;
  for (let round = 0; round < rounds; round++) {
    found.routed.push(await overRouting!.run(seconds));
    found.relayed.push(await overRelay!.run(seconds));
    const last = [found.routed.at(-1), found.relayed.at(-1)].map((each) => Math.round(each ?? 0));
    print(`WireGuard, round ${round + 1} of ${rounds}: routed ${last[0]} Mbit/s, relayed ${last[1]} Mbit/s`);
  }
  return found;
}

async function spliceOn({
  namespace,
}: LabHost): Promise<{ add(to: { address: string; port: number }): Promise<void> } & AsyncDisposable> {
  const system = new NodeSystem(['ip', 'netns', 'exec', namespace]);
  const components = { system, clock: new SystemClock(), random: new SystemRandom() };
  const splice = await HostSplice.open(components, { wireguardPort: SPLICED_PORT });
  return {
    async add(to) {
      const peer = { ...to, pathPort: PATH_PORT };
      await splice.addOut(peer);
      await splice.addIn(peer);
    },
    [Symbol.asyncDispose]: () => splice[Symbol.asyncDispose](),
  };
}

/**
 * The daemon as `towpath up` makes it, without WireGuard: paths, control plane, cameras, API and page are real, and
 * echoes are answered by the process itself.
 */
import { Events } from '@towpath/core';
import { ConnectionManager, MeshPathFinder, NATTraversal, type PeerNetwork } from '@towpath/mesh';
import type { Runtime } from '../../packages/towpath/src/cli/runtime.ts';
import { chooseParties } from '../../packages/towpath/src/commands/daemon/party-options.ts';
import { homeOf, PartyNode } from '../../packages/towpath/src/commands/party/party-node.ts';
import type { KnownParty } from '../../packages/towpath/src/config/party-home.ts';
import { ApiServer } from '../../packages/towpath/src/daemon/api/api-server.ts';
import { ApiToken } from '../../packages/towpath/src/daemon/api/token.ts';
import { loadConfig } from '../../packages/towpath/src/daemon/config/config-file.ts';
import { Daemon } from '../../packages/towpath/src/daemon/daemon.ts';
import type { PartyMesh } from '../../packages/towpath/src/daemon/parties/party-runner.ts';
import { StateFolder } from '../../packages/towpath/src/daemon/state/state-folder.ts';
import { nodeRuntime } from '../support/bench-line.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface IdleDaemonTask {
  home: string;
  peers: number;
  cameras: number;
  /** After the peers and cameras are there, until the measurement begins. */
  settleMs: number;
  holdMs: number;
}

export interface IdleDaemonReport {
  /** Peers with a path, and cameras connected, at the end. */
  peers: number;
  cameras: number;
  /** Of the whole process, at the end. */
  residentBytes: number;
  heapBytes: number;
  /** Share of one core. */
  cpuShare: number;
}

const { home, peers, cameras, settleMs, holdMs } = workerTask<IdleDaemonTask>();
const runtime = nodeRuntime(home);
const state = StateFolder.open(home, { nowMs: runtime.clock.wallTime() });
const config = loadConfig(runtime);
const parties = chooseParties(runtime, config, undefined, {}).map(({ party, options }) => ({
  party,
  options,
  open: (signal: AbortSignal) => mesh({ ...runtime, signal }, party),
}));
const daemon = new Daemon(runtime, { config, state, parties, given: {} });
const socket = await ApiServer.onSocket(daemon, state.path);
const token = ApiToken.load(state.path, runtime.random);
const http = await ApiServer.onLoopback(daemon, { port: 0, token });
await daemon.start();
while (connected().peers < peers || connected().cameras < cameras) await sleep(200);
await sleep(settleMs);
const cpu = process.cpuUsage();
const startedAt = performance.now();
await sleep(holdMs);
const { user, system } = process.cpuUsage(cpu);
const { rss, heapUsed } = process.memoryUsage();
const report: IdleDaemonReport = {
  ...connected(),
  residentBytes: rss,
  heapBytes: heapUsed,
  cpuShare: (user + system) / 1_000 / (performance.now() - startedAt),
};
tell(report);
await parentLeft();
await daemon[Symbol.asyncDispose]();
await http[Symbol.asyncDispose]();
await socket[Symbol.asyncDispose]();

function connected(): { peers: number; cameras: number } {
  const { parties: all, cameras: held } = daemon.status();
  return {
    peers: all.flatMap((party) => party.peers).filter(({ status, path }) => status === 'connected' && path !== null)
      .length,
    cameras: held.filter(({ state: is, pictures }) => is === 'connected' && pictures.missing === 0).length,
  };
}

/** What `MeshNode.open` makes, with a machine whose WireGuard does nothing. */
async function mesh(under: Runtime, party: KnownParty): Promise<PartyMesh> {
  const { wireGuard } = await homeOf(under).identityIn(party.id);
  const node = await PartyNode.open(under, party.servers, { party: party.id, live: true });
  const view = await node.client.refresh(party.id);
  const finder = await MeshPathFinder.open(
    { ...under, control: node.client },
    { party: party.id, self: view.self.id, wireGuardKey: wireGuard, portMapping: false },
  );
  const nat = new NATTraversal({ finder });
  const machine = quietMachine(under);
  const manager = new ConnectionManager({ components: under }, machine, nat, node.client);
  await manager.maintainParty(party.id);
  return {
    address: view.self.virtualAddress,
    virtualNetwork: '10.66.0.0/16',
    manager,
    node,
    network: {
      interfaceName: 'tp-bench',
      backend: 'kernel',
      splice: undefined,
      filter: undefined,
      events: new Events(),
      notRouted: new Map(),
    },
    async [Symbol.asyncDispose]() {
      await manager.close();
      await nat.close();
      await node[Symbol.asyncDispose]();
    },
  };
}

function quietMachine({ clock }: Runtime): PeerNetwork {
  const nothing = async () => {};
  return {
    splice: undefined,
    mtuBytes: 1_420,
    listenPort: 51_820,
    echo: {
      events: new Events(),
      ping: (_address, { signal } = {}) => clock.sleep(1, signal).then(() => 1),
      touch: () => {},
      sayGoodbye: () => {},
    },
    addPeer: nothing,
    removePeer: nothing,
    restartPeer: nothing,
    setEndpoint: nothing,
    setPeerMtu: nothing,
    addRoute: nothing,
    removeRoute: nothing,
    setReceivers: nothing,
    peer: async () => undefined,
    read: async () => ({ listenPort: 51_820, peers: [] }),
    setNames: () => new Map(),
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * A member of a party that connects to others when told so. Argument: JSON, see {@link GridNodeOptions}. Each line of standard
 * input is a {@link GridOrder} or `"release"`, which ends the connection; each line of standard output is a {@link GridLine}.
 */
import { createInterface } from 'node:readline';
import { ControlClient, generateNodeIdentity, HttpTransport, MemoryStorage } from '@towpath/control';
import { type PathPolicy, SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import {
  ConnectionManager,
  interfaceNameFor,
  MeshPathFinder,
  NATTraversal,
  NetworkManager,
  type PeerConnection,
} from '../../../packages/mesh/src/index.ts';

export interface GridNodeOptions {
  name: string;
  server: string;
  /** Invite code. */
  invite: string;
  stateFolder: string;
  birthday?: boolean;
  /** @default true */
  splice?: boolean;
}

/** Connects to a member, reports when a state is reached or the time is over, and keeps the connection until released. */
export interface GridOrder {
  id: number;
  peer: string;
  /** What ends the order early: any answered echo, a direct path, or the splice. */
  until: 'echo' | 'direct' | 'splice';
  forMs: number;
  policy?: PathPolicy | undefined;
  /** How long relays and NATs are looked at before the time counts, as in a process that runs for long, ms. @default 0 */
  settleMs?: number | undefined;
}

export interface GridResult {
  strategy: string | undefined;
  kind: string | undefined;
  pathReason: string;
  relayReason: string | undefined;
  dataPlane: string;
  dataPlaneReason: string;
  status: string;
  /** From the order to the first answered echo; undefined when there was none. */
  firstEchoMs: number | undefined;
  /** From the order to the first direct path. */
  directMs: number | undefined;
  probes: number;
  /** What happened, with the time since the order, ms. */
  events: string[];
  /** Failed attempts with their reasons. */
  failures: Record<string, string>;
  error: string | undefined;
}

/** A change of the peer, as it happens. */
export interface GridEvent {
  what: string;
  reason: string;
  status: string;
  dataPlane: string;
  path: string | undefined;
  kind: string | undefined;
  relay: string | undefined;
}

export type GridLine =
  | { ready: string; address: string }
  /** The first echo was answered. */
  | { id: number; echo: true }
  | { id: number; event: GridEvent }
  | { id: number; result: GridResult };

const options: GridNodeOptions = JSON.parse(process.argv[2]!);
const clock = new SystemClock();
const random = new SystemRandom();
const network = new NodeNetwork();
const log = silentLog;
const ended = new AbortController();
const identity = generateNodeIdentity(random);
const client = await ControlClient.open({
  clock,
  random,
  log,
  transport: new HttpTransport({ clock, random, log }, { servers: [`http://${options.server}:4100`] }),
  identity,
  storage: new MemoryStorage(),
  live: true,
});
const invite = await client.openInvite(options.invite, { signal: ended.signal });
network.changes.subscribe(() => client.reconnect());
const party = await client.join(invite, { memberName: options.name, signal: ended.signal });
await client.ready(ended.signal);
const machine = new NetworkManager(
  { network, clock, random },
  {
    interfaceName: interfaceNameFor(party.id, party.self.id),
    privateKey: identity.wireGuard.privateKey,
    address: party.self.virtualAddress,
    stateFolder: options.stateFolder,
    hostsPath: false,
    ...(options.splice === undefined ? {} : { splice: options.splice }),
  },
);
await machine.initialize();
let turn: Promise<void> = Promise.resolve();
let released = Promise.withResolvers<void>();
createInterface({ input: process.stdin }).on('line', (line) => {
  const order: GridOrder | 'release' = JSON.parse(line);
  if (order === 'release') released.resolve();
  else turn = turn.then(() => obey(order));
});
process.once('SIGTERM', () => {
  ended.abort();
  released.resolve();
  void turn
    .then(() => machine.cleanup())
    .then(() => client.close())
    .then(() => process.exit(0));
});
print({ ready: options.name, address: party.self.virtualAddress });

async function obey(order: GridOrder): Promise<void> {
  const { id, policy, settleMs = 0 } = order;
  released = Promise.withResolvers();
  const peer = await known(order.peer);
  const finder = await MeshPathFinder.open(
    { network, clock, random, control: client },
    {
      party: party.id,
      self: party.self.id,
      wireGuardKey: identity.wireGuard,
      isOwnInterface: (name) => name === machine.interfaceName,
      birthday: options.birthday,
    },
  );
  const nat = new NATTraversal({ finder });
  const manager = new ConnectionManager(
    { components: { network, clock, random }, ...(policy && { policy }), connectTimeoutMs: order.forMs },
    machine,
    nat,
    client,
  );
  await clock.sleep(settleMs);
  const startedAt = clock.now();
  let firstEchoMs: number | undefined;
  let directMs: number | undefined;
  let error: string | undefined;
  let connection: PeerConnection | undefined;
  const events: string[] = [];
  manager.events.on('changed', ({ what, reason, status }) => {
    const { status: health, path, dataPlane } = status;
    const event = { what, reason, status: health, dataPlane, path: path?.id, kind: path?.kind, relay: path?.relay };
    print({ id, event });
    events.push(`${Math.round(clock.now() - startedAt)} ${what} ${reason} ${health} ${dataPlane} ${path?.id ?? ''}`);
    if (what === 'path' && status.strategy === 'direct') directMs ??= clock.now() - startedAt;
  });
  const connecting = manager.connectToPeer(party.id, peer, { signal: ended.signal }).then(
    () => {
      firstEchoMs = clock.now() - startedAt;
      print({ id, echo: true });
    },
    (cause: Error) => {
      error = cause.message;
    },
  );
  for (;;) {
    connection = manager.connections.get(peer) ?? connection;
    if (ended.signal.aborted || clock.now() - startedAt >= order.forMs || isReached(order, connection)) break;
    await clock.sleep(20);
  }
  const described = connection?.describe();
  const failures = (connection?.paths.log() ?? []).filter(({ what }) => what === 'failure');
  const result: GridResult = {
    strategy: described?.strategy,
    kind: described?.path?.kind,
    pathReason: described?.pathReason ?? '',
    relayReason: described?.relayReason,
    dataPlane: described?.dataPlane ?? 'hop',
    dataPlaneReason: described?.dataPlaneReason ?? '',
    status: described?.status ?? 'none',
    firstEchoMs,
    directMs,
    probes: connection?.paths.probesSent ?? 0,
    events,
    failures: Object.fromEntries(failures.map(({ label, reason }) => [label, reason])),
    error,
  };
  print({ id, result });
  await released.promise;
  await manager.close();
  await connecting;
  await nat.close();

  function isReached({ until, policy: wanted }: GridOrder, now: PeerConnection | undefined): boolean {
    if (now === undefined || firstEchoMs === undefined) return false;
    const { strategy, dataPlane } = now.describe();
    const best = wanted === 'relay-only' ? 'relay' : 'direct';
    return until === 'echo' || (strategy === best && (until === 'direct' || dataPlane === 'splice'));
  }
}

/** The id of a member, once this node has heard of it and it is online. */
async function known(name: string): Promise<string> {
  for (;;) {
    const found = client.party(party.id)?.peers.find((peer) => peer.name === name && peer.online);
    if (found !== undefined) return found.id;
    await clock.sleep(50, ended.signal);
  }
}

function print(what: GridLine): void {
  console.log(JSON.stringify(what));
}

import { ConnectionManager, NATTraversal } from '@towpath/mesh';
import { type NatOptions, natKinds } from '@towpath/net/simulated';
import { PARTY, type PartyMember, SimulatedParty } from '../packages/mesh/test/paths/party.ts';
import { MeshGrid, type Place } from '../test/system/support/mesh-grid.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { connectPair } from './support/mesh-lab.ts';
import { PlainWireGuard } from './support/plain-wireguard.ts';
import { isInstalled } from './support/program.ts';
import { SimulatedWireGuard } from '@towpath/mesh/simulated';

/** Between any two hosts of the simulation; a signal takes as long, to the server and from there. */
const RTT_MS = 20;
/** The network inside takes no time, so that a member behind a NAT is as far from servers as an open one: {@link RTT_MS}. */
const NAT: NatOptions = { ...natKinds.portRestricted, lanLink: { delayMs: 0 } };
const ECHO_GOAL_RTT = 6;
const DIRECT_GOAL_RTT = 8;
const CONNECT_MS = 30_000;
/** As in a daemon that runs: relays are allocated and NATs measured before somebody asks for a peer. */
const SETTLE_MS = 2_500;
const SIMULATED_SETTLE_MS = 20_000;
const HERE = '127.0.0.1';
const PLAIN_PORT = 51_900;

interface Case {
  name: string;
  nat: NatOptions | undefined;
  place: Place;
  relayed?: boolean;
}

const CASES: readonly Case[] = [
  { name: 'open × open', nat: undefined, place: 'open' },
  { name: 'port-restricted cone × the same', nat: NAT, place: 'port-restricted' },
  {
    name: 'port-restricted cone × the same, relay only',
    nat: NAT,
    place: 'port-restricted',
    relayed: true,
  },
];

/** Times by run, ms. */
interface Times {
  /** At the member that begins the handshake, and at the other. */
  echo: number[];
  other: number[];
  direct: number[];
  plain: number[];
}

export const bench: Bench = {
  about: `time from connectToPeer at both ends to the first echo through the tunnel: in round trips of the simulated internet (${RTT_MS} ms between any two), beside WireGuard whose endpoints are known beforehand; in ms between namespaces without delay, beside plain wireguard-go`,
  async run({ quick, print }) {
    const rows: BenchRow[] = [];
    for (const each of CASES) {
      const times = await simulated(each, quick ? 5 : 50);
      rows.push(...simulatedRows(each, times));
    }
    if (!['wireguard-go', 'wg', 'ip', 'nft'].every(isInstalled)) return rows;
    const grid = await MeshGrid.open();
    try {
      for (const each of CASES) rows.push(await real(grid, each, quick ? 2 : 5, print));
    } finally {
      await grid.close();
    }
    return rows;
  },
};

async function simulated(each: Case, runs: number): Promise<Times> {
  const times: Times = { echo: [], other: [], direct: [], plain: [] };
  for (let seed = 1; seed <= runs; seed++) {
    const party = new SimulatedParty(seed, { portMapping: false }, { link: { delayMs: RTT_MS / 4 } });
    await party.startRelay();
    const ends = [await end(party, 'a', each), await end(party, 'b', each)] as const;
    await party.clock.advance(SIMULATED_SETTLE_MS);
    const startedMs = party.clock.now();
    let directMs = Number.NaN;
    ends[0].manager.events.on('changed', ({ status }) => {
      if (status.strategy === 'direct' && Number.isNaN(directMs)) directMs = party.clock.now() - startedMs;
    });
    const [a, b] = ends;
    const connect = async (from: End, to: End, took: number[]) => {
      await from.manager.connectToPeer(PARTY, to.member.peer.id);
      took.push(party.clock.now() - startedMs);
    };
    await party.clock.runUntil(Promise.all([connect(a, b, times.echo), connect(b, a, times.other)]));
    if (!each.relayed) {
      for (let waited = 0; Number.isNaN(directMs) && waited < CONNECT_MS; waited += 1) await party.clock.advance(1);
      times.direct.push(directMs);
    }
    times.plain.push(await known(party));
    for (const one of ends) {
      await party.clock.runUntil(one.manager.close());
      await party.clock.runUntil(one.tunnel[Symbol.asyncDispose]());
    }
    await party.close();
  }
  return times;
}

async function end(party: SimulatedParty, name: string, { nat, relayed }: Case): Promise<End> {
  const member = await party.member(name, nat);
  const components = { network: member.network, clock: party.clock, random: party.random };
  const tunnel = await SimulatedWireGuard.open(components, { address: HERE });
  const config = { components, connectTimeoutMs: CONNECT_MS, ...(relayed && { policy: 'relay-only' as const }) };
  const nats = new NATTraversal({ finder: member.finder });
  return { member, tunnel, manager: new ConnectionManager(config, tunnel, nats, member.control) };
}

interface End {
  member: PartyMember;
  tunnel: SimulatedWireGuard;
  manager: ConnectionManager;
}

/** Two public hosts that know each other's endpoint: from the first packet to the answer of an echo. */
async function known({ internet, clock, random }: SimulatedParty): Promise<number> {
  const hosts = ['x', 'y'].map((name) => internet.host({ name }));
  const tunnels = await Promise.all(
    hosts.map(({ network, address }) => SimulatedWireGuard.open({ network, clock, random }, { address })),
  );
  for (const [at, tunnel] of tunnels.entries()) {
    const { address } = hosts[1 - at]!;
    const endpoint = { address, port: tunnels[1 - at]!.listenPort };
    await tunnel.addPeer({ publicKey: new Uint8Array(32).fill(at), endpoint, allowedIps: [`10.66.0.${1 - at}/32`] });
  }
  const startedMs = clock.now();
  await clock.runUntil(tunnels[0]!.echo.ping('10.66.0.1'));
  const took = clock.now() - startedMs;
  for (const tunnel of tunnels) await clock.runUntil(tunnel[Symbol.asyncDispose]());
  return took;
}

function simulatedRows({ name, relayed }: Case, { echo, other, direct, plain }: Times): BenchRow[] {
  const inRtt = (samples: readonly number[]) => percentile(samples, 0.5) / RTT_MS;
  const made = (metric: string, samples: readonly number[], limit: number) => {
    const value = inRtt(samples);
    const fields = { metric, unit: 'RTT', value, baseline: inRtt(plain) };
    return row({ case: name, ...fields, goal: `≤ ${limit} RTT`, met: value <= limit });
  };
  const rows = [
    made('first echo, median', echo, ECHO_GOAL_RTT),
    made('first echo at the member that does not begin the handshake, median', other, ECHO_GOAL_RTT),
  ];
  return relayed ? rows : [...rows, made('first direct path, median', direct, DIRECT_GOAL_RTT)];
}

async function real(
  grid: MeshGrid,
  { name, place, relayed }: Case,
  rounds: number,
  print: (line: string) => void,
): Promise<BenchRow> {
  const label = `${place.slice(0, 1)}${relayed ? 'r' : 'd'}`;
  const [a, b] = await Promise.all(['1', '2'].map((side) => grid.member(`${label}${side}`, place)));
  const pair = [a!, b!] as const;
  const echo: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const order = { id: round + 1, until: 'echo', forMs: CONNECT_MS, settleMs: SETTLE_MS } as const;
    const [first] = await connectPair(pair, { ...order, ...(relayed && { policy: 'relay-only' }) });
    echo.push(first.firstEchoMs ?? Number.NaN);
    for (const member of pair) member.release();
    plain.push(await plainMs(pair));
  }
  print(`${name}: first echo after ${echo.map(Math.round)} ms, plain ${plain.map(Math.round)} ms`);
  const fields = { metric: 'first echo, median', unit: 'ms', value: percentile(echo, 0.5) };
  return row({ case: `namespaces without delay: ${name}`, ...fields, baseline: percentile(plain, 0.5) });
}

/** Plain WireGuard on the same hosts: from the first ping to its answer, the endpoints known. */
async function plainMs([a, b]: readonly [GridEnd, GridEnd]): Promise<number> {
  const tunnelEnd = ({ host }: GridEnd, { nat, host: other }: GridEnd) => ({
    host,
    listenPort: PLAIN_PORT,
    endpoint: { address: nat?.outside ?? other.address, port: PLAIN_PORT },
  });
  await using tunnel = await PlainWireGuard.open([tunnelEnd(a, b), tunnelEnd(b, a)]);
  return tunnel.firstEchoMs;
}

type GridEnd = Awaited<ReturnType<MeshGrid['member']>>;

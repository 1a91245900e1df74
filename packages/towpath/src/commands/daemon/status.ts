import type { Camera, DaemonStatus, Party, Peer } from '@towpath/dashboard/api';
import { printJson } from '../../cli/json-output.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatBytes, formatMs, outputWidth, table, wrap } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { heldParties, type MemberOptions } from './find-target.ts';
import { peerJson } from './json.ts';
import { filterText } from './filter-text.ts';
import { substituteText } from './substitute-text.ts';

/** Prints how each member and camera is reached. */
export async function status(runtime: Runtime, { json, party: wanted }: MemberOptions): Promise<void> {
  const { io, clock } = runtime;
  const held = await heldParties(runtime, wanted);
  const answer = wanted === undefined ? held : { ...held, cameras: [] };
  if (json) {
    printJson(io, 'status', statusJson(answer));
    return;
  }
  const say = (line: string, indent = '') => {
    for (const part of wrap(line, outputWidth(io) - indent.length)) io.out(`${indent}${part}`);
  };
  const { parties, cameras, problems } = answer;
  for (const party of parties) {
    const wireGuard =
      party.interface === null ? '' : ` on ${party.interface.name} (WireGuard: ${party.interface.backend})`;
    const state = party.state === 'up' ? `${party.address}${wireGuard}` : party.state;
    const server = party.connected ? 'connected' : party.state === 'starting' ? 'not asked yet' : 'not reached';
    say(`${party.name}: ${state}, control server ${server}`);
    const seen = substituteText(party);
    if (seen !== undefined) say(seen, '  ');
    const filtered = filterText(party);
    if (filtered !== undefined) say(oneLine(filtered), '  ');
    if (party.relay !== undefined) say(`Relay for the members: ${relayText(party.relay)}`, '  ');
    const rows = party.peers.map((peer) => peerRow(peer, clock.wallTime()));
    if (rows.length > 0) for (const line of table(PEER_HEAD, rows, outputWidth(io))) io.out(line);
    else if (party.state === 'up') say('No other member yet. Next: towpath party invite', '  ');
  }
  if (cameras.length > 0) {
    if (parties.length > 0) io.out('');
    for (const line of table(CAMERA_HEAD, cameras.map(cameraRow), outputWidth(io))) io.out(line);
  }
  if (parties.length + cameras.length === 0) say('Neither parties nor cameras. Next: towpath camera add NAME ADDRESS');
  for (const { message, at } of problems) {
    const since = at === undefined ? '' : ` (for ${ago(at, clock.wallTime())})`;
    say(`${io.style('yellow', '!')} ${oneLine(message)}${since}`);
  }
}

function relayText({ state, address, problem, ...relay }: NonNullable<Party['relay']>): string {
  if (address === null) {
    return state === 'failed'
      ? `off, because its ports could not be opened: ${problem}`
      : 'off, because no interface has a public address. Next: --relay-address ADDRESS where a router forwards the ports.';
  }
  const seen = state === 'reachable' ? 'in use' : 'not used by a member yet';
  const limit = `${formatBytes(relay.bytesPerSecond)}/s`;
  return `${address}, ${seen}, ${relay.sessions} of ${relay.maxSessions} sessions, ${formatBytes(relay.relayedBytes)} relayed${relay.dataPlane === 'kernel' ? ' by the kernel' : ''}, at most ${limit}`;
}

const PEER_HEAD = ['NAME', 'ADDRESS', 'STATUS', 'PATH', 'RTT', 'DATA', 'SINCE', 'IN / OUT', 'REASON'];

function peerRow(peer: Peer, nowMs: number): string[] {
  return [
    peer.name,
    peer.address,
    peer.status,
    // The path of a peer that does not answer is the last one, and carries nothing.
    peer.status === 'failed' ? '' : (peer.strategy ?? ''),
    peer.latencyMs === null ? '' : formatMs(peer.latencyMs),
    peer.path === null ? '' : peer.dataPlane,
    peer.path?.since ? ago(peer.path.since, nowMs) : '',
    `${formatBytes(peer.receivedBytes)} / ${formatBytes(peer.sentBytes)}`,
    reasonText(peer),
  ];
}

/** The code, and where a policy forbids the paths, which one and whose. */
function reasonText({ name, status, reason, pathReason, policies, refusedBy }: Peer): string {
  if (status === 'connected') return pathReason.code;
  if (refusedBy === undefined || policies === undefined) return reason.code;
  return refusedBy === 'own' ? `policy ${policies.own}, here` : `policy ${policies.peer}, of ${name}`;
}

const CAMERA_HEAD = ['CAMERA', 'STATE', 'PATH', 'RTT', 'BATTERY', 'CARD', 'PICTURES', 'PROBLEM'];

function cameraRow({ name, state, path, device, pictures, problem, outputProblems }: Camera): string[] {
  const { battery = null, card = null } = device ?? {};
  const missing = pictures.missing ? `, ${pictures.missing} to fetch` : '';
  return [
    name,
    state,
    path === null ? '' : path.kind,
    path?.rttMs == null ? '' : formatMs(path.rttMs),
    battery === null ? '' : `${battery.percent} %${battery.charging ? ', charging' : ''}`,
    card === null ? '' : `${formatBytes(card.freeMb * 1e6)} free`,
    `${pictures.saved}${missing}`,
    (problem ?? outputProblems[0])?.code ?? '',
  ];
}

/** `3 min`, `2 h`, `5 d`: since when. */
function ago(since: string, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(since)) / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}

function statusJson({ host, program, startedAt, parties, cameras, problems }: DaemonStatus): object {
  const peersOf = (party: DaemonStatus['parties'][number]) =>
    party.peers.map((peer) => ({ party: party.name, ...peerJson(peer) }));
  return {
    type: 'status',
    version: 1,
    host,
    program,
    startedAt,
    parties: parties.map((party) => ({
      id: party.id,
      party: party.name,
      state: party.state,
      problem: party.problem,
      address: party.address,
      interface: party.interface?.name ?? null,
      backend: party.interface?.backend ?? null,
      network: party.network ?? null,
      server: party.connected,
      relay: party.relay ?? null,
      filter: party.filter ?? null,
    })),
    peers: parties.flatMap(peersOf),
    cameras,
    problems,
  };
}

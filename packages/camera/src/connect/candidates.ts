import type { Candidate, Clock, Log, PathKind, Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import {
  AttemptSocket,
  connectByLanSearch,
  connectByRelay,
  connectByRendezvous,
  connectDirect,
  type PpppSession,
  type StreamCipher,
} from '@towpath/pppp';
import { DEFAULT_UID } from './defaults.ts';

/** Where a camera was reached before, so that it is reached from the same local port again (requirement B6). */
export interface RememberedPath {
  kind: PathKind;
  localPort: number;
  destinationPort: number;
}

/** Several devices claim one UID at a server, which connects to the one that logged in first. */
export interface ContestedUid {
  uid: string;
  server: Endpoint;
}

/** What the candidates of one camera have in common. */
export interface CandidateContext {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** The camera's address; without it only a LAN search and the servers can find it. */
  cameraIp?: string | undefined;
  ports: readonly number[];
  /** Find the camera by LAN search too. */
  search: boolean;
  /** Where LAN searches are answered. */
  searchPort: number;
  /** Search the whole LAN, and not only the camera's address. */
  searchLan: boolean;
  /** The camera's UID; without it the usual one is punched, and a LAN search takes any that answers. */
  uid?: string | undefined;
  /** Rendezvous servers that the camera logs in at. */
  servers: readonly Endpoint[];
  /** Relays to use instead of those that the servers list. */
  relays: readonly Endpoint[];
  /** The camera's secret at the servers. */
  secret?: string | undefined;
  /** Local address to connect from. */
  localAddress?: string | undefined;
  /** Preferred local port of what is sent to the camera itself, without a remembered one. */
  localPort?: number | undefined;
  /** Network key of keyed dialects. */
  cipher?: StreamCipher | undefined;
  remembered?: RememberedPath | undefined;
  /** Local ports that candidates had in an earlier race, by candidate id: they use the same ones again if possible. */
  localPorts?: ReadonlyMap<string, number> | undefined;
  /** Servers know several devices with the camera's UID; each attempt tells it once. */
  onContested?: ((contest: ContestedUid) => void) | undefined;
  /** The socket of the attempts that send to the camera itself. @default one for each */
  socket?: AttemptSocket | undefined;
}

/** A relay is used at once and left as soon as there is a direct path. */
const DIRECT_RANK = 0;
const RELAY_RANK = 1;

const SEARCH_ID = 'lan:search';
/** The attempts that ask servers. */
export const RENDEZVOUS_ID = 'p2p:rendezvous';
export const RELAY_ID = 'relay:servers';

/** The socket that a LAN search and the camera's ports share, so that the camera sees one client and holds one session. */
export function directSocket(context: CandidateContext): AttemptSocket {
  const { network, clock, log, localAddress, localPorts, remembered, ports } = context;
  const direct = remembered !== undefined && ports.includes(remembered.destinationPort);
  const before = [...(localPorts ?? [])].find(([id]) => id !== RENDEZVOUS_ID && id !== RELAY_ID);
  const localPort = direct || remembered?.kind === 'lan' ? remembered.localPort : (before?.[1] ?? context.localPort);
  return new AttemptSocket(
    { network, clock, log: log.child('CONNECT') },
    {
      ...(localPort === undefined ? {} : { localPort }),
      ...(localAddress === undefined ? {} : { localAddress }),
    },
  );
}

/** Returns the candidates of one path kind. */
export function candidatesOf(kind: PathKind, context: CandidateContext): Candidate<PpppSession>[] {
  switch (kind) {
    case 'lan':
      return [...(context.search ? [searchCandidate(context)] : []), ...portCandidates(context, 'lan')];
    case 'p2p':
      return [...rendezvousCandidates(context), ...portCandidates(context, 'p2p')];
    case 'relay':
      return relayCandidates(context);
    default:
      return kind satisfies never;
  }
}

/** What every attempt is told, with its own log and local port. */
function common(context: CandidateContext, kind: PathKind, id: string, localPort = context.localPorts?.get(id)) {
  const { network, clock, random, localAddress } = context;
  return {
    network,
    clock,
    random,
    log: context.log.child(kind.toUpperCase()),
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(localPort === undefined ? {} : { localPort }),
  };
}

function searchCandidate(context: CandidateContext): Candidate<PpppSession> {
  const { cameraIp, searchPort, searchLan, uid, cipher } = context;
  const hosts = cameraIp === undefined ? [] : [{ address: cameraIp, port: searchPort }];
  const [host] = hosts;
  const broadcast = host === undefined || searchLan;
  return {
    id: SEARCH_ID,
    kind: 'lan',
    label: host && !broadcast ? `${formatEndpoint(host)} (search)` : `broadcast:${searchPort} (search)`,
    rank: DIRECT_RANK,
    connect: ({ signal, note }) =>
      connectByLanSearch({
        ...common(context, 'lan', SEARCH_ID),
        ...(context.socket === undefined ? {} : { socket: context.socket }),
        hosts,
        broadcast,
        knownPorts: context.ports.slice(0, 1),
        searchPort,
        ...(uid === undefined ? {} : { uid }),
        ...(cipher === undefined ? {} : { ciphers: [cipher] }),
        signal,
        onSocket: ({ port }) => note({ localPort: port }),
      }),
  };
}

function rendezvousCandidates(context: CandidateContext): Candidate<PpppSession>[] {
  const { servers } = context;
  if (servers.length === 0) return [];
  return [
    {
      id: RENDEZVOUS_ID,
      kind: 'p2p',
      label: `by ${servers.map(formatEndpoint).join(', ')}`,
      rank: DIRECT_RANK,
      connect: ({ signal, note }) =>
        connectByRendezvous({
          ...common(context, 'p2p', RENDEZVOUS_ID, rememberedPort(context, 'p2p', RENDEZVOUS_ID)),
          ...remote(context),
          signal,
          onSocket: ({ port }) => note({ localPort: port }),
          onNat: ({ mapping }) => note({ detail: `our NAT: ${mapping}` }),
        }),
    },
  ];
}

function relayCandidates(context: CandidateContext): Candidate<PpppSession>[] {
  const { servers, relays } = context;
  if (servers.length === 0) return [];
  return [
    {
      id: RELAY_ID,
      kind: 'relay',
      label: `by ${servers.map(formatEndpoint).join(', ')}`,
      rank: RELAY_RANK,
      connect: ({ signal, note }) =>
        connectByRelay({
          ...common(context, 'relay', RELAY_ID, rememberedPort(context, 'relay', RELAY_ID)),
          ...remote(context),
          ...(relays.length === 0 ? {} : { relays }),
          signal,
          onSocket: ({ port }) => note({ localPort: port }),
        }),
    },
  ];
}

function remote({ uid = DEFAULT_UID, servers, secret, cipher, onContested }: CandidateContext) {
  return {
    uid,
    servers,
    ...(onContested === undefined ? {} : { onContested: (server: Endpoint) => onContested({ uid, server }) }),
    ...(secret === undefined ? {} : { secret }),
    ...(cipher === undefined ? {} : { cipher }),
  };
}

/** Returns the last local port, if the last path was of this kind and went through the servers. */
function rememberedPort(context: CandidateContext, kind: PathKind, id: string): number | undefined {
  const { remembered, ports, cameraIp } = context;
  const direct = cameraIp !== undefined && remembered && ports.includes(remembered.destinationPort);
  return remembered?.kind === kind && !direct ? remembered.localPort : context.localPorts?.get(id);
}

function portCandidates(context: CandidateContext, kind: 'lan' | 'p2p'): Candidate<PpppSession>[] {
  const { cameraIp, remembered } = context;
  if (cameraIp === undefined) return [];
  const ports = [...new Set(context.ports)];
  // The remembered port is tried first, because some cameras serve only the (address, port) that sends first.
  if (remembered?.kind === kind && ports.includes(remembered.destinationPort)) {
    ports.splice(ports.indexOf(remembered.destinationPort), 1);
    ports.unshift(remembered.destinationPort);
  }
  return ports.map((port, index) => portCandidate(context, kind, { address: cameraIp, port }, index + 1));
}

function portCandidate(
  context: CandidateContext,
  kind: 'lan' | 'p2p',
  to: Endpoint,
  number: number,
): Candidate<PpppSession> {
  const { uid = DEFAULT_UID, cipher, remembered } = context;
  const id = `${kind}:${to.port}`;
  const mine = remembered?.kind === kind && remembered.destinationPort === to.port;
  const shared = common(context, kind, id, mine ? remembered.localPort : undefined);
  return {
    id,
    kind,
    label: formatEndpoint(to),
    rank: DIRECT_RANK,
    connect: ({ signal, note }) =>
      connectDirect({
        ...shared,
        ...(context.socket === undefined ? {} : { socket: context.socket }),
        uid,
        to,
        pathKind: kind,
        ...(cipher === undefined ? {} : { cipher }),
        signal,
        onSocket: ({ port }) => {
          note({ localPort: port });
          shared.log.debug(`Attempt ${number}: local_port=${port}, dest_port=${to.port}`);
        },
      }),
  };
}

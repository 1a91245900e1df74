import type { Candidate, Clock, Log, Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import {
  connectByLanSearch,
  connectByRelay,
  connectByRendezvous,
  connectDirect,
  type PpppSession,
  type StreamCipher,
} from '@towpath/pppp';
import { type ConnectionMode, DEFAULT_UID } from './way.ts';

/** Where a camera was reached before, so that it is reached from the same local port again (requirement B6). */
export interface RememberedPath {
  mode: ConnectionMode;
  localPort: number;
  destinationPort: number;
}

/** What the candidates of one camera have in common. */
export interface CandidateContext {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** Address of the camera; without it only a LAN search and the servers can find it. */
  cameraIp?: string;
  destinationPorts: readonly number[];
  /** Where LAN searches are answered. */
  searchPort: number;
  /** The camera's UID; without it the usual one is punched, and a LAN search takes any that answers. */
  uid?: string;
  /** Rendezvous servers, which know where the camera is. */
  servers: readonly Endpoint[];
  /** Relays to use besides those that the servers name. */
  relays: readonly Endpoint[];
  /** The camera's secret at the servers. */
  secret?: string;
  /** Local address to leave from. */
  localAddress?: string;
  /** Network key of keyed dialects. */
  cipher?: StreamCipher;
  remembered?: RememberedPath;
  /** Local ports that candidates had in an earlier race, by candidate id: they leave from the same ones if they can. */
  localPorts?: ReadonlyMap<string, number>;
}

/** A relay is used at once and left as soon as there is a direct path. */
const DIRECT_RANK = 0;
const RELAY_RANK = 1;

const SEARCH_ID = 'lan:search';
/** The attempts that ask servers. */
export const RENDEZVOUS_ID = 'p2p:rendezvous';
export const RELAY_ID = 'relay:servers';

/** The candidates of one way. */
export function candidatesOf(mode: ConnectionMode, context: CandidateContext): Candidate<PpppSession>[] {
  switch (mode) {
    case 'lan':
      return [searchCandidate(context), ...portCandidates(context, 'lan')];
    case 'p2p':
      return [...rendezvousCandidates(context), ...portCandidates(context, 'p2p')];
    case 'relay':
      return relayCandidates(context);
    default:
      return mode satisfies never;
  }
}

/** What every attempt is told, with its own log and local port. */
function common(context: CandidateContext, mode: ConnectionMode, id: string, localPort = context.localPorts?.get(id)) {
  const { network, clock, random, localAddress } = context;
  return {
    network,
    clock,
    random,
    log: context.log.child(mode.toUpperCase()),
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(localPort === undefined ? {} : { localPort }),
  };
}

function searchCandidate(context: CandidateContext): Candidate<PpppSession> {
  const { cameraIp, searchPort, uid, cipher } = context;
  const hosts = cameraIp === undefined ? [] : [{ address: cameraIp, port: searchPort }];
  const [host] = hosts;
  return {
    id: SEARCH_ID,
    lane: 'lan',
    label: host ? `${formatEndpoint(host)} (search)` : `broadcast:${searchPort} (search)`,
    rank: DIRECT_RANK,
    connect: ({ signal, note }) =>
      connectByLanSearch({
        ...common(context, 'lan', SEARCH_ID),
        hosts,
        broadcast: host === undefined,
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
      lane: 'p2p',
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
      lane: 'relay',
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

function remote({ uid = DEFAULT_UID, servers, secret, cipher }: CandidateContext) {
  return {
    uid,
    servers,
    ...(secret === undefined ? {} : { secret }),
    ...(cipher === undefined ? {} : { cipher }),
  };
}

/** The local port of last time, where it was this way that won and not one of its direct ports. */
function rememberedPort(context: CandidateContext, mode: ConnectionMode, id: string): number | undefined {
  const { remembered, destinationPorts, cameraIp } = context;
  const direct = cameraIp !== undefined && remembered && destinationPorts.includes(remembered.destinationPort);
  return remembered?.mode === mode && !direct ? remembered.localPort : context.localPorts?.get(id);
}

function portCandidates(context: CandidateContext, mode: 'lan' | 'p2p'): Candidate<PpppSession>[] {
  const { cameraIp, destinationPorts, remembered } = context;
  if (cameraIp === undefined) return [];
  const ports = [...new Set(destinationPorts)];
  // A remembered port leads: its socket must be the first that a camera hears which serves only one (address, port).
  if (remembered?.mode === mode && ports.includes(remembered.destinationPort)) {
    ports.splice(ports.indexOf(remembered.destinationPort), 1);
    ports.unshift(remembered.destinationPort);
  }
  return ports.map((port, index) => portCandidate(context, mode, { address: cameraIp, port }, index + 1));
}

function portCandidate(
  context: CandidateContext,
  mode: 'lan' | 'p2p',
  to: Endpoint,
  number: number,
): Candidate<PpppSession> {
  const { uid = DEFAULT_UID, cipher, remembered } = context;
  const id = `${mode}:${to.port}`;
  const mine = remembered?.mode === mode && remembered.destinationPort === to.port;
  const shared = common(context, mode, id, mine ? remembered.localPort : undefined);
  return {
    id,
    lane: mode,
    label: formatEndpoint(to),
    rank: DIRECT_RANK,
    connect: ({ signal, note }) =>
      connectDirect({
        ...shared,
        uid,
        to,
        mode,
        ...(cipher === undefined ? {} : { cipher }),
        signal,
        onSocket: ({ port }) => {
          note({ localPort: port });
          shared.log.debug(`Attempt ${number}: local_port=${port}, dest_port=${to.port}`);
        },
      }),
  };
}

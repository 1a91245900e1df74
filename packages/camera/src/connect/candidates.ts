import type { Candidate, Clock, Log, Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import { connectByLanSearch, connectDirect, type PpppSession, type StreamCipher } from '@towpath/pppp';
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
  /** Address of the camera. */
  cameraIp: string;
  destinationPorts: readonly number[];
  /** Where LAN searches are answered. */
  searchPort: number;
  /** The camera's UID; without it the usual one is punched, and a LAN search takes any that answers. */
  uid?: string;
  /** Local address to leave from. */
  localAddress?: string;
  /** Network key of keyed dialects. */
  cipher?: StreamCipher;
  remembered?: RememberedPath;
  /** Local ports that candidates had in an earlier race, by candidate id: they leave from the same ones if they can. */
  localPorts?: ReadonlyMap<string, number>;
}

/** The LAN way: a search at the camera's address, and a punch at each port. */
export function lanCandidates(context: CandidateContext): Candidate<PpppSession>[] {
  return [searchCandidate(context), ...portCandidates(context, 'lan')];
}

/** The P2P way: punches at each port of the camera's address. */
export function p2pCandidates(context: CandidateContext): Candidate<PpppSession>[] {
  return portCandidates(context, 'p2p');
}

const SEARCH_ID = 'lan:search';

function searchCandidate(context: CandidateContext): Candidate<PpppSession> {
  const { network, clock, random, cameraIp, searchPort, uid, localAddress, cipher } = context;
  const localPort = context.localPorts?.get(SEARCH_ID);
  const log = context.log.child('LAN');
  const target: Endpoint = { address: cameraIp, port: searchPort };
  const label = `${formatEndpoint(target)} (search)`;
  return {
    id: SEARCH_ID,
    lane: 'lan',
    label,
    connect: ({ signal, note }) =>
      connectByLanSearch({
        network,
        clock,
        random,
        log,
        hosts: [target],
        broadcast: false,
        ...(uid === undefined ? {} : { uid }),
        ...(localAddress === undefined ? {} : { localAddress }),
        ...(cipher === undefined ? {} : { ciphers: [cipher] }),
        ...(localPort === undefined ? {} : { localPort }),
        signal,
        onSocket: ({ port }) => note({ localPort: port }),
      }),
  };
}

function portCandidates(context: CandidateContext, mode: 'lan' | 'p2p'): Candidate<PpppSession>[] {
  const { cameraIp, destinationPorts, remembered } = context;
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
  const { network, clock, random, uid = DEFAULT_UID, localAddress, cipher, remembered } = context;
  const log = context.log.child(mode.toUpperCase());
  const id = `${mode}:${to.port}`;
  const mine = remembered?.mode === mode && remembered.destinationPort === to.port;
  const localPort = mine ? remembered.localPort : context.localPorts?.get(id);
  return {
    id,
    lane: mode,
    label: formatEndpoint(to),
    connect: ({ signal, note }) =>
      connectDirect({
        network,
        clock,
        random,
        log,
        uid,
        to,
        mode,
        ...(localPort === undefined ? {} : { localPort }),
        ...(localAddress === undefined ? {} : { localAddress }),
        ...(cipher === undefined ? {} : { cipher }),
        signal,
        onSocket: ({ port }) => {
          note({ localPort: port });
          log.debug(`Attempt ${number}: local_port=${port}, dest_port=${to.port}`);
        },
      }),
  };
}

import { errorMessage, type PathPolicy } from '@towpath/core';
import {
  isReachable as isReachableByMembers,
  overlaps,
  parseRoutedNetwork,
  parseVirtualNetwork,
  substituteNetwork,
} from '@towpath/mesh';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import type { KnownParty } from '../../config/party-home.ts';
import type { DaemonConfig } from '../../daemon/config/config.ts';
import type { PartyFile } from '../../daemon/config/schema.ts';
import type { MeshNodeOptions } from '../mesh/mesh-node.ts';
import { portRange, subnets } from '../relay/plan.ts';
import { findParty, homeOf } from '../party/party-node.ts';

/** Options of the command line that concern a party; undefined ones were not given. */
export interface PartyFlags {
  splice?: boolean;
  names?: boolean;
  lan?: boolean;
  offer?: string[];
  accept?: string[];
  policy?: string;
  redundant?: boolean;
  network?: string;
  domain?: string;
  port?: number;
  mtu?: number;
  birthday?: boolean;
  portMapping?: boolean;
  backend?: string;
  relay?: boolean;
  relayPort?: number;
  relayPorts?: string;
  relayAddress?: string;
  relaySessions?: number;
  /** Kilobytes per second. */
  relayRate?: number;
  relayAllowPeer?: string[];
}

const POLICIES: readonly PathPolicy[] = ['auto', 'direct-only', 'relay-only', 'lan-only'];
const BACKENDS = ['auto', 'kernel', 'userspace'] as const;
const DEFAULT_NETWORK = '10.66.0.0/16';
const DEFAULT_MTU_BYTES = 1_420;
const MAX_DOMAIN = 253;

/** A party to keep up. */
export interface ChosenParty {
  readonly party: KnownParty;
  readonly options: MeshNodeOptions;
}

/**
 * The parties to keep up: the named one, else those of the configuration, else all of this node.
 * @throws UsageError when there is neither a party nor a camera and `mayBeNothing` is not set, or an option is wrong.
 */
export function chooseParties(
  runtime: Runtime,
  config: DaemonConfig,
  name: string | undefined,
  flags: PartyFlags,
  mayBeNothing = false,
): ChosenParty[] {
  const hasFlags = Object.values(flags).some((value) => value !== undefined);
  const all = homeOf(runtime).parties();
  const files = Array.isArray(config.parties) ? (config.parties as readonly PartyFile[]) : [];
  const fileOf = (party: KnownParty) => files.find((file) => findParty(runtime, file.party).id === party.id);
  const chosen =
    name !== undefined
      ? [findParty(runtime, name)]
      : config.parties === 'none'
        ? []
        : config.parties === 'all'
          ? all
          : files.map((file) => findParty(runtime, file.party));
  if (chosen.length === 0 && config.cameras.length === 0 && !mayBeNothing) {
    throw new UsageError(
      'There is neither a party nor a camera to hold. Next: towpath camera add NAME ADDRESS, towpath party create NAME, or towpath party join CODE.',
    );
  }
  if (hasFlags && chosen.length > 1) {
    throw new UsageError('These options are of one party, and there are several. Next: name it: towpath up PARTY …');
  }
  return withNetworks(
    runtime,
    chosen.map((party) => ({ party, options: meshOptions(fileOf(party), flags) })),
  );
}

/**
 * Gives each party a network of this machine. Parties know nothing of each other and may use the same network: the first one
 * keeps it here, and another one is seen in a substitute, which stays its own from then on.
 */
function withNetworks(runtime: Runtime, parties: readonly ChosenParty[]): ChosenParty[] {
  const home = homeOf(runtime);
  const given = new Map<string, string>();
  const known = parties.map((each) => ({ ...each, saved: home.networkHere(each.party.id, each.options.network) }));
  for (const { party, options, saved } of [...known].sort((a, b) => Number(!a.saved) - Number(!b.saved))) {
    const others = [...given.values()].flatMap((text) => parseVirtualNetwork(text) ?? []);
    const wanted = parseVirtualNetwork(saved ?? options.network);
    const isFree = wanted === undefined || !others.some((other) => overlaps(other, wanted));
    const substitute = isFree ? undefined : substituteNetwork(party.id, others);
    given.set(party.id, substitute ?? saved ?? options.network);
  }
  return parties.map(({ party, options }) => ({
    party,
    options: {
      ...options,
      networkHere: given.get(party.id)!,
      otherNetworks: [...given].filter(([id]) => id !== party.id).map(([, network]) => network),
    },
  }));
}

/** Remembers in which networks this machine sees its parties, so that their addresses here stay the same. */
export function rememberNetworks(runtime: Runtime, parties: readonly ChosenParty[]): void {
  const home = homeOf(runtime);
  for (const { party, options } of parties) home.rememberNetworkHere(party.id, options.network, options.networkHere);
}

function meshOptions(file: PartyFile | undefined, flags: PartyFlags): MeshNodeOptions {
  const policy = POLICIES.find((each) => each === (flags.policy ?? file?.policy ?? 'auto'));
  if (policy === undefined) throw new UsageError(`--policy must be one of ${POLICIES.join(', ')}.`);
  const backend = BACKENDS.find((each) => each === (flags.backend ?? file?.backend ?? 'auto'));
  if (backend === undefined) throw new UsageError(`--backend must be one of ${BACKENDS.join(', ')}.`);
  const offers = flags.offer ?? file?.offer ?? [];
  const accept =
    flags.accept?.map(readAccepted) ?? file?.accept?.map(({ member, network }) => ({ peer: member, network })) ?? [];
  for (const offer of offers) checkNetwork(typeof offer === 'string' ? offer : offer.network);
  for (const { network } of accept) checkNetwork(network);
  const domain = flags.domain ?? file?.domain;
  if (domain !== undefined && domain !== '' && !isDomain(domain)) {
    throw new UsageError('--domain must be a domain, such as internal, or empty.');
  }
  return {
    splice: flags.splice ?? file?.splice ?? true,
    names: flags.names ?? file?.names ?? true,
    lan: flags.lan ?? file?.lan ?? false,
    offers,
    accept,
    policy,
    redundancy: (flags.redundant ?? file?.redundant) ? 2 : 1,
    network: flags.network ?? file?.network ?? DEFAULT_NETWORK,
    networkHere: flags.network ?? file?.network ?? DEFAULT_NETWORK,
    otherNetworks: [],
    domain,
    port: flags.port ?? file?.port ?? 0,
    birthday: flags.birthday ?? file?.birthday ?? true,
    portMapping: flags.portMapping ?? file?.['port-mapping'] ?? true,
    mtuBytes: flags.mtu ?? file?.mtu ?? DEFAULT_MTU_BYTES,
    backend,
    relay: relayOptions(file?.relay, flags),
  };
}

function relayOptions(file: PartyFile['relay'], flags: PartyFlags): MeshNodeOptions['relay'] {
  const isOn = flags.relay ?? (file !== undefined && file !== false);
  const given = [flags.relayPort, flags.relayPorts, flags.relayAddress, flags.relaySessions, flags.relayRate];
  if (!isOn) {
    if ([...given, flags.relayAllowPeer].some((value) => value !== undefined)) {
      throw new UsageError('The options --relay-… need --relay.');
    }
    return undefined;
  }
  const settings = typeof file === 'object' ? file : {};
  const address = flags.relayAddress ?? settings.address;
  if (address !== undefined && !isReachableByMembers(address)) {
    throw new UsageError('--relay-address must be a public IPv4 address.');
  }
  const ports = flags.relayPorts ?? settings.ports;
  const rate = flags.relayRate ?? settings.rate;
  return {
    port: flags.relayPort ?? settings.port,
    relayPorts: ports === undefined ? undefined : portRange(ports),
    address,
    sessions: flags.relaySessions ?? settings.sessions,
    bytesPerSecond: rate === undefined ? undefined : rate * 1_000,
    allow: subnets(flags.relayAllowPeer ?? settings['allow-peer'] ?? []),
  };
}

/** @throws UsageError for a network that no member can offer. */
function checkNetwork(network: string): void {
  try {
    parseRoutedNetwork(network);
  } catch (error) {
    throw new UsageError(errorMessage(error));
  }
}

/** Labels as RFC 1123 §2.1 has them. */
function isDomain(text: string): boolean {
  const labels = text.split('.');
  return text.length <= MAX_DOMAIN && labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label));
}

function readAccepted(text: string): { peer: string; network: string } {
  const equals = text.lastIndexOf('=');
  if (equals < 1) throw new UsageError('--accept must have the form MEMBER=NETWORK, such as pi=192.168.43.0/24.');
  return { peer: text.slice(0, equals), network: text.slice(equals + 1) };
}

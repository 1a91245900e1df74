import type { Log } from '@towpath/core';
import { type Endpoint, isIpAddress, type TlsClientOptions } from '@towpath/net';
import { absence, discover, familyReport, hasFamily, usableFamilies } from './families.ts';
import { type FamilyLookUp, gathered, type LookUpFailure, type LookUps, lookUp, MISDIRECTED } from './look-ups.ts';
import type { LocalAddress, NetcheckReport } from './report.ts';
import {
  type CheckComponents,
  checkTransport,
  DEFAULT_PORT,
  type ServerCheck,
  type ServerToCheck,
  type TransportCheck,
  transportsTo,
} from './server-check.ts';

/** Shares of the total time. */
const SERVER_SHARE = 0.6;
const DISCOVERY_SHARE = 0.75;
/** Discovery waits twice: for the first answer, and for answers from other addresses. */
const ANSWER_SHARE = 0.36;
/** The look-up of the second family, once the first has an answer. */
const OTHER_FAMILY_SHARE = 0.4;
/** NAT behaviour is measured with all servers at once: how long it waits for slower look-ups. */
const GATHER_MS = 300;

/** A run, as far as the checks of servers use it. */
export interface ServerContext extends CheckComponents {
  log: Log;
  options: {
    servers?: readonly ServerToCheck[] | undefined;
    relays?: readonly ServerToCheck[] | undefined;
    tls?: TlsClientOptions | undefined;
  };
  addresses: readonly LocalAddress[];
  limitMs: number;
  nameLimitMs: number;
  signal: AbortSignal;
}

interface Named {
  readonly role: ServerCheck['role'];
  readonly server: ServerToCheck;
  readonly lookUps: LookUps;
}

/** Checks every server, each family as soon as its address is known, and measures NAT behaviour with all of them. */
export async function checkServers(context: ServerContext): Promise<Pick<NetcheckReport, 'ipv4' | 'ipv6' | 'servers'>> {
  const { options, addresses, limitMs, nameLimitMs, signal } = context;
  const limits = {
    limitMs: nameLimitMs,
    otherLimitMs: OTHER_FAMILY_SHARE * limitMs,
    usable: usableFamilies(addresses),
    signal,
  };
  const given = [
    ...(options.servers ?? []).map((server) => ({ role: 'stun' as const, server })),
    ...(options.relays ?? []).map((server) => ({ role: 'relay' as const, server })),
  ];
  const named: Named[] = given.map((one) => ({ ...one, lookUps: lookUp(context, one.server.host, limits) }));
  const [servers, ipv4, ipv6] = await Promise.all([
    Promise.all(named.map((one) => checkServer(context, one))),
    measure(context, named, 4),
    measure(context, named, 6),
  ]);
  return {
    ipv4: familyReport(4, ipv4, servers),
    ipv6: familyReport(6, ipv6, servers),
    servers,
  };
}

async function checkServer(context: ServerContext, { role, server, lookUps }: Named): Promise<ServerCheck> {
  const ofFamily = async (family: 4 | 6): Promise<{ transports: TransportCheck[]; failure?: LookUpFailure }> => {
    const result = await lookUps[family];
    if ('failure' in result) return { transports: [], failure: result.failure };
    if (!hasFamily(context.addresses, [result.address], family)) return { transports: [] };
    const { limitMs, signal, options } = context;
    const how = { limitMs: SERVER_SHARE * limitMs, tls: options.tls, signal };
    return {
      transports: await Promise.all(
        transportsTo(server, [result.address]).map((untried) => checkTransport(context, untried, how)),
      ),
    };
  };
  const [four, six] = await Promise.all([ofFamily(4), ofFamily(6)]);
  const transports = [...four.transports, ...six.transports];
  const best = transports.filter(({ rttMs }) => rttMs !== undefined).toSorted((a, b) => a.rttMs! - b.rttMs!)[0];
  const failures = [four.failure, six.failure].filter((failure) => failure !== undefined);
  const { host, port = DEFAULT_PORT } = server;
  // A name without addresses of any family; of literal addresses only one family exists.
  const error = failures.length === 2 && !isIpAddress(host) ? (failures.find(isUnresolved) ?? failures[0]) : undefined;
  return {
    role,
    host,
    port,
    transports,
    ...(best && { best }),
    ...(error && { error: { code: error.code, message: error.message } }),
    unresolved: failures.filter(isUnresolved),
  };
}

/** True when something is wrong with the name; that it has no address of a family is none. */
function isUnresolved({ code, couldNotAsk }: LookUpFailure): boolean {
  return couldNotAsk || code === MISDIRECTED;
}

/** Measures NAT behaviour of one family with the servers whose addresses are known by then. */
async function measure(
  context: ServerContext,
  named: readonly Named[],
  family: 4 | 6,
): Promise<Parameters<typeof familyReport>[1]> {
  const { clock, addresses, limitMs, signal } = context;
  const known = await gathered(
    clock,
    GATHER_MS,
    named.map(({ server, lookUps }) => ({ value: server, lookUp: lookUps[family] })),
    signal,
  );
  const asked = distinct(known.map(({ value, address }) => ({ address, port: value.port ?? DEFAULT_PORT })));
  const present = hasFamily(
    addresses,
    asked.map(({ address }) => address),
    family,
  );
  const timing = { timeoutMs: ANSWER_SHARE * limitMs, limitMs: DISCOVERY_SHARE * limitMs, signal };
  const discovered = present && asked.length > 0 ? await discover(context, asked, timing) : {};
  const failures = (await Promise.all(named.map(({ lookUps }) => lookUps[family]))).flatMap(failureIn);
  return { absent: present ? undefined : absence(addresses, family), asked, discovered, failures };
}

function failureIn(result: FamilyLookUp): LookUpFailure[] {
  return 'failure' in result ? [result.failure] : [];
}

function distinct(endpoints: readonly Endpoint[]): Endpoint[] {
  return [...new Map(endpoints.map((endpoint) => [`${endpoint.address} ${endpoint.port}`, endpoint])).values()];
}

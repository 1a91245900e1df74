import { errorMessage, type Log } from '@towpath/core';
import { type Endpoint, isLoopback } from '@towpath/net';
import { discoverNat, type NatReport } from '@towpath/stun';
import { withinLimit } from './deadline.ts';
import { type LookUpFailure, MISDIRECTED } from './look-ups.ts';
import type { FamilyReport, LocalAddress } from './report.ts';
import type { CheckComponents, ServerCheck } from './server-check.ts';

/** Scopes of addresses that do not lead out of the local network. */
const LOCAL_SCOPES: ReadonlySet<string | undefined> = new Set(['link-local', 'loopback', undefined]);

/** Returns the families that this machine has addresses of that lead beyond the local network. */
export function usableFamilies(addresses: readonly LocalAddress[]): Set<4 | 6> {
  return new Set(addresses.filter(({ scope }) => !LOCAL_SCOPES.has(scope)).map(({ family }) => family));
}

/** Returns whether this machine can reach servers of `family`. */
export function hasFamily(addresses: readonly LocalAddress[], servers: readonly string[], family: 4 | 6): boolean {
  // Servers on this machine are reached without any network.
  return servers.some(isLoopback) || usableFamilies(addresses).has(family);
}

/** Result of the NAT behaviour measurement, or why there is none. */
export interface Discovery {
  readonly nat?: NatReport;
  readonly why?: string;
}

/** Measures NAT behaviour with servers of one family. A failure is a finding. @throws the signal's reason */
export async function discover(
  components: CheckComponents & { log: Log },
  servers: readonly Endpoint[],
  { timeoutMs, limitMs, signal }: { timeoutMs: number; limitMs: number; signal: AbortSignal },
): Promise<Discovery> {
  try {
    const nat = await withinLimit(
      components.clock,
      limitMs,
      `The NAT was not measured within ${Math.round(limitMs)} ms.`,
      signal,
      (limited) => discoverNat(components, { servers, timeoutMs, signal: limited }),
    );
    return { nat };
  } catch (error) {
    signal.throwIfAborted();
    components.log.debug('NAT behaviour was not measured', { error });
    return { why: errorMessage(error) };
  }
}

/** Why a family is not usable, in words: there may be addresses of the local network. */
export function absence(addresses: readonly LocalAddress[], family: 4 | 6): string {
  const isLocalOnly = addresses.some((address) => address.family === family);
  if (!isLocalOnly) return `no IPv${family} address`;
  return family === 6 ? 'no global IPv6 address' : 'no IPv4 address that leads beyond the local network';
}

/** What is known about one family before the servers' results. */
export interface FamilyMeasurement {
  /** Undefined when this machine has a usable address; otherwise see {@link absence}. */
  readonly absent: string | undefined;
  readonly asked: readonly Endpoint[];
  readonly discovered: Discovery;
  readonly failures: readonly LookUpFailure[];
}

/** Combines the results for one address family. */
export function familyReport(
  family: 4 | 6,
  { absent, asked, discovered, failures }: FamilyMeasurement,
  checks: readonly ServerCheck[],
): FamilyReport {
  const name = `IPv${family}`;
  const nothing = { external: undefined, nat: undefined };
  if (absent !== undefined) {
    return { ...nothing, verdict: 'no-address', reachable: false, why: `This machine has ${absent}.` };
  }
  if (asked.length === 0) {
    const unknown = failures.find(({ couldNotAsk }) => couldNotAsk);
    if (unknown !== undefined) {
      return { ...nothing, verdict: 'could-not-ask', reachable: undefined, why: `Not measured: ${unknown.message}` };
    }
    const misdirected = failures.find(({ code }) => code === MISDIRECTED);
    if (misdirected !== undefined) {
      return { ...nothing, verdict: 'misdirected', reachable: undefined, why: `Not measured: ${misdirected.message}` };
    }
    const reason = `No server with an ${name} address was given.`;
    return { ...nothing, verdict: 'no-server', reachable: undefined, why: reason };
  }
  const transports = checks
    .flatMap((check) => check.transports)
    .filter((check) => check.family === family && check.mapped !== undefined);
  const overUdp = transports.some(({ transport }) => transport === 'udp');
  const { nat } = discovered;
  const external = nat?.mapped ?? transports[0]?.mapped;
  if (external === undefined) {
    return { ...nothing, verdict: 'no-answer', reachable: false, why: `No server answered over ${name}.` };
  }
  const udp = nat?.udp === true || overUdp;
  const state = `${name} works${udp ? '' : ', but only over TCP'}.`;
  const why = discovered.why === undefined ? state : `${state} ${discovered.why}`;
  // Without an answer over UDP there is a finding only where the same server answers over TCP, and UDP got no refusal.
  const blocked = !udp && sameServerOverTcpOnly(family, checks);
  const measured = nat?.udp === true || blocked ? nat : undefined;
  return { verdict: 'works', reachable: true, external, nat: measured, why };
}

/** Returns whether a server answered over TCP or TLS while UDP to the same address got no answer at all. */
function sameServerOverTcpOnly(family: 4 | 6, checks: readonly ServerCheck[]): boolean {
  return checks.some(({ transports }) => {
    const own = transports.filter((check) => check.family === family);
    const silent = own.some(({ transport, error }) => transport === 'udp' && error?.code === 'timed-out');
    return silent && own.some(({ transport, error }) => transport !== 'udp' && error === undefined);
  });
}

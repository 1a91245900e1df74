import { errorMessage, type Log } from '@towpath/core';
import { type Endpoint, isLoopback } from '@towpath/net';
import { discoverNatBehaviour, type NatBehaviour } from '@towpath/stun';
import { withinLimit } from './deadline.ts';
import type { FamilyReport, LocalAddress } from './report.ts';
import type { CheckComponents, ServerCheck } from './server-check.ts';

/** Scopes of addresses that do not lead out of the local network. */
const LOCAL_SCOPES: ReadonlySet<string | undefined> = new Set(['link-local', 'loopback', undefined]);

/** True when this machine could leave by `family` at all. */
export function hasFamily(addresses: readonly LocalAddress[], servers: readonly Endpoint[], family: 4 | 6): boolean {
  // Servers on this machine are reached without any network.
  if (servers.some(({ address }) => isLoopback(address))) return true;
  return addresses.some((one) => one.family === family && !LOCAL_SCOPES.has(one.scope));
}

/** What the measurement of NAT behaviour says, or why it says nothing. */
export interface Discovery {
  readonly nat?: NatBehaviour;
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
      (limited) => discoverNatBehaviour(components, { servers, timeoutMs, signal: limited }),
    );
    return { nat };
  } catch (error) {
    signal.throwIfAborted();
    components.log.debug('NAT behaviour was not measured', { error });
    return { why: errorMessage(error) };
  }
}

/** Puts together what is known of a family. */
export function familyReport(
  family: 4 | 6,
  present: boolean,
  asked: readonly Endpoint[],
  { nat, why }: Discovery,
  checks: readonly ServerCheck[],
): FamilyReport {
  const name = `IPv${family}`;
  if (!present) {
    return { reachable: false, external: undefined, nat: undefined, why: `This machine has no ${name} address.` };
  }
  if (asked.length === 0) {
    const reason = `No server with an ${name} address was named to ask.`;
    return { reachable: undefined, external: undefined, nat: undefined, why: reason };
  }
  const ways = checks.flatMap((check) => check.ways).filter((way) => way.family === family && way.mapped !== undefined);
  const external = nat?.mapped ?? ways[0]?.mapped;
  const reachable = external !== undefined;
  const udp = nat?.udp === true || ways.some(({ transport }) => transport === 'udp');
  const state = !reachable
    ? `${name} leads nowhere: no server answered over it.`
    : `${name} works${udp ? '' : ', but only over TCP'}.`;
  return { reachable, external, nat, why: why === undefined ? state : `${state} ${why}` };
}

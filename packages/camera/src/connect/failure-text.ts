import type { AttemptReport, PathKind, RaceReport } from '@towpath/core';
import { type CandidateContext, RELAY_ID, RENDEZVOUS_ID } from './candidates.ts';

/** True when the host has reported every port as closed (ICMP), and nothing else was tried. */
export function isClosedHost({ attempts }: RaceReport): boolean {
  return attempts.length > 0 && attempts.every(({ error }) => error?.code === 'refused');
}

/** True when nothing is left but servers, and everything that was named as one answers with something else. */
export function isWithoutServers({ attempts }: RaceReport, { cameraIp }: CandidateContext): boolean {
  const asked = attempts.filter(({ id }) => id === RENDEZVOUS_ID || id === RELAY_ID);
  return cameraIp === undefined && asked.length > 0 && asked.every(({ error }) => error?.code === 'not-pppp');
}

/** Returns why a race did not reach the camera, in one line with the next step. */
export function whyNotReached(
  target: string,
  { cameraIp, ports, servers }: CandidateContext,
  kinds: ReadonlySet<PathKind>,
  report: RaceReport,
): string {
  if (kinds.size === 0) return 'Every kind of path is disabled. Next: enable at least one of p2p, lan and relay.';
  if (kinds.size === 1 && kinds.has('relay') && servers.length === 0) {
    return 'A relayed path needs rendezvous servers. Next: add at least one.';
  }
  const where = cameraIp === undefined || ports.length === 0 ? '' : ` on ports ${ports.join(', ')}`;
  if (isClosedHost(report)) {
    return `${target} reports every tried port${where === '' ? '' : ` (${ports.join(', ')})`} as closed. Next: check the address and the ports, and that the camera is on.`;
  }
  // Answers of servers say more than silence on a port, for which there is one reason per port.
  const said = new Map<string, string[]>();
  for (const { id, kind, error } of report.attempts) {
    if ((id !== RENDEZVOUS_ID && id !== RELAY_ID) || error === undefined) continue;
    said.set(error.message, [...(said.get(error.message) ?? []), kind.toUpperCase()]);
  }
  if (said.size > 0) {
    const reasons = [...said].map(([message, of]) => `${of.join(' and ')}: ${message}`);
    return `No answer from ${target}${where}. ${reasons.join(' ')}`;
  }
  if (cameraIp === undefined && servers.length === 0) {
    return `No answer from ${target} on this network. Next: check that the camera is awake and on this network; if it is elsewhere, name the rendezvous servers that it logs in at.`;
  }
  return `No answer from ${target}${where}. Next: check that the camera is awake and on this network.${firewallAdvice(report.attempts)}`;
}

/** Silence on every port, without a refusal or another device: what is left is that the answers were dropped. */
function firewallAdvice(attempts: readonly AttemptReport[]): string {
  const answered = attempts.some(({ error }) => error?.code === 'refused' || error?.code === 'wrong-device');
  return answered ? '' : ' If it is, a firewall on this host may drop its answers: allow incoming UDP from it.';
}

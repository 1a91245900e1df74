import type { Why } from '@towpath/dashboard/api';
import type { ConnectionStatus, PathLogEntry } from '@towpath/mesh';
import { reasonOf } from './reasons.ts';

/** Says why a peer is reached as it is, and what would make it better: the answer of `towpath why`. */
export function explain(status: ConnectionStatus, log: readonly PathLogEntry[]): Why {
  const { name } = status;
  const reached = status.status === 'connected' || status.status === 'degraded';
  const silent = silentAddresses(log, status.endpoint);
  const details = silent.map(({ label, reason }) => `${label} ${FAILURES[reason] ?? 'did not answer'} (${reason}).`);
  const { refusedBy } = status;
  const mayAnswer = status.online && status.reason !== 'peer-left' && status.reason !== 'interface-lost';
  if (refusedBy !== undefined && mayAnswer) {
    return {
      verdict: 'unreachable',
      reason: reasonOf('policy'),
      summary: `${name} answers, but only on paths that the policy ${refusedBy} does not allow.`,
      details: [...policiesOf(status), ...details],
      next: [
        ...(status.isRefusedByPeer ? [changeAtPeer(status)] : []),
        'Start with --policy auto, which allows every path; in the configuration, policy: auto.',
        ...(refusedBy === 'lan-only'
          ? [
              'Or connect both to one LAN: lan-only allows addresses in the private networks of interfaces of this machine.',
            ]
          : []),
      ],
    };
  }
  if (!reached && status.isRefusedByPeer && mayAnswer) {
    const what = status.path === undefined ? 'any path that the policy here allows' : `the paths to it that work`;
    return {
      verdict: 'unreachable',
      reason: reasonOf('policy'),
      summary: `${name} is not reached: its policy ${status.peerPolicy} does not allow ${what}.`,
      details: [...policiesOf(status), ...details],
      next: [changeAtPeer(status)],
    };
  }
  if (!reached) {
    return {
      verdict: 'unreachable',
      reason: reasonOf(status.reason),
      summary: `${name} is not reached: ${reasonOf(status.reason).text}.`,
      details,
      next: status.online
        ? [
            `Check that UDP leaves the networks of both sides: towpath netcheck, here and on ${name}.`,
            ...(silent.some(({ reason }) => reason === 'relay-forbids')
              ? [
                  'If the relay is to forward there: towpath relay serve or towpath serve with --allow-peer NETWORK, towpath up --relay with --relay-allow-peer NETWORK.',
                ]
              : []),
            ...(status.path === undefined
              ? ['Add a relay that both sides reach: towpath serve, or towpath relay serve.']
              : []),
          ]
        : [`Start Towpath on ${name}: towpath up. It is not connected to the control server.`],
    };
  }
  if (status.dataPlane === 'hop')
    details.push(`This process carries the packets: ${reasonOf(status.dataPlaneReason).text}.`);
  if (status.strategy === 'relay') {
    const reason = reasonOf(status.relayReason ?? status.pathReason);
    const isPeers = reason.code === 'policy' && status.policy !== 'relay-only';
    const relay = status.path?.relay ?? status.endpoint ?? 'a relay';
    return {
      verdict: 'relayed',
      reason,
      summary: `${name} is reached through the relay ${relay}${latency(status)}: ${reason.text}.`,
      details: reason.code === 'policy' ? [...policiesOf(status), ...details] : details,
      next: [
        ...(isPeers
          ? [changeAtPeer(status)]
          : (REMEDIES[reason.code] ?? ['Look for a firewall in front of one of the two machines.'])),
        `See what both NATs do: towpath netcheck, here and on ${name}.`,
      ],
    };
  }
  return {
    verdict: 'direct',
    reason: reasonOf(status.pathReason),
    summary: `${name} is reached directly at ${status.endpoint ?? 'its address'}${latency(status)}.`,
    details,
    next:
      status.status === 'degraded'
        ? [
            `${DEGRADED[status.reason] ?? 'The path is bad.'} Look at the link of both sides: towpath ping, towpath paths.`,
          ]
        : [],
  };
}

function policiesOf({ name, policy, peerPolicy }: ConnectionStatus): string[] {
  return peerPolicy === undefined ? [] : [`The policy here is ${policy}, that of ${name} is ${peerPolicy}.`];
}

function changeAtPeer({ name }: ConnectionStatus): string {
  return `On ${name}, start with --policy auto; in the configuration there, policy: auto.`;
}

/** What is wrong with a path that works, by the reason of the status. */
const DEGRADED: Readonly<Record<string, string>> = {
  'echo-slow': 'Round trips took 200 ms or more, and are not below 180 ms again.',
  'echo-lost': 'Echoes through the tunnel are not answered at the moment; another path is looked for.',
};

/** What happened instead of no answer, by the reason of a failed check. */
const FAILURES: Readonly<Record<string, string>> = {
  'relay-forbids': 'was refused by the relay, which does not forward to private or special networks',
  'stun-refused': 'was refused by the relay',
  'stun-unauthenticated': 'was refused by the relay, which does not accept the credentials',
};

/** What makes a path direct, by the reason why it is not. docs/protocol/reasons.md, "NAT traversal". */
const REMEDIES: Readonly<Record<string, readonly string[]>> = {
  'hard-nats': [
    'Switch on port mapping (UPnP, NAT-PMP or PCP) or IPv6 at one of the two routers.',
    'Or forward a UDP port to one of the two machines, and start it with --port.',
  ],
  'udp-blocked': ['Allow outbound UDP in the network that blocks it.'],
  punching: ['Wait: a search for the ports of a NAT is under way.'],
  'punch-failed': ['Wait: the search is tried again. Port mapping at one of the two routers makes it unnecessary.'],
  'punch-off': ['Start without --no-birthday, on both sides.'],
  policy: ['Start without --policy relay-only.'],
};

function latency({ latencyMs }: ConnectionStatus): string {
  return latencyMs === undefined ? '' : `, ${latencyMs < 10 ? latencyMs.toFixed(1) : Math.round(latencyMs)} ms`;
}

/** Addresses of the peer that were tried last without an answer. */
function silentAddresses(
  log: readonly PathLogEntry[],
  endpoint: string | undefined,
): { label: string; reason: string }[] {
  const failed = new Map<string, string>();
  for (const { what, label, reason } of log) {
    if (what === 'failure') failed.set(label, reason);
    else if (what === 'success') failed.delete(label);
  }
  return [...failed]
    .filter(([label]) => endpoint === undefined || !label.includes(endpoint))
    .map(([label, reason]) => ({ label, reason }));
}

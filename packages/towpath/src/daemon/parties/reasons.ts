import type { Reason } from '@towpath/dashboard/api';

/** docs/protocol/reasons.md in one line each; a test compares the codes. */
const WORDS: Readonly<Record<string, string>> = {
  first: 'the first verified path',
  direct: 'a direct path replaced a relayed one',
  faster: 'a faster path was found',
  agreed: 'both ends agreed on another relay',
  nominated: 'the other end uses this path',
  'probes-lost': 'the path before did not answer its probes',
  'data-lost': 'the path before answered its probes and lost the data',
  closed: 'the path before was closed',
  policy: 'the policy does not allow the path before, or any that was found',
  withdrawn: 'the candidate was withdrawn',
  surplus: 'there are enough better paths',
  suspect: 'probes of the current path were missed',
  'network-changed': 'the network of this machine changed',
  'clock-jumped': 'the machine was suspended, or its clock was set',
  'signalling-back': 'the control server is back',
  'remote-candidates': 'the other side sent new candidates',
  'target-awake': 'the target is awake',
  requested: 'requested by a person or a program',
  shutdown: 'closed on this side',
  spliced: 'the kernel carries the packets',
  'splice-off': 'the splice is switched off',
  'splice-unavailable': 'nftables is not available',
  'path-not-plain': 'the path uses a TURN channel or TCP, which the kernel cannot carry',
  'route-differs': "the kernel's route to the peer leaves from another address",
  'splice-silent': 'the kernel path carried no data; it is tried again',
  'splice-lost': 'another program removed the nftables table',
  'endpoint-stray': 'WireGuard had another endpoint; repaired',
  'two-paths': 'every packet is sent on two paths',
  'path-new': 'the path was chosen a moment ago',
  'no-path': 'no path was found yet',
  'hard-nats': 'both NATs choose a new port for each destination, at least one of them at random',
  'udp-blocked': 'one of the two networks lets no UDP through',
  punching: 'a search for the ports of a NAT is under way, or comes next',
  'punch-failed': 'the search for the ports of a NAT found none; it is tried again later',
  'punch-off': 'the NATs would need a search for ports, which is switched off',
  'no-answer': 'none of its addresses answered',
  'other-version': 'it has another version of Towpath, whose messages this one does not read',
  'relay-forbids': 'the relay does not forward to this address: it is in a private or special network',
  'echo-answered': 'echoes through the tunnel are answered',
  'echo-slow': 'echoes through the tunnel take 200 ms or more',
  'echo-lost': 'echoes through the tunnel are not answered',
  'reconnect-failed': 'three attempts to reconnect had no answer',
  'peer-left': 'the peer said that it leaves',
  'peer-offline': 'the peer is not connected to the control server',
  'interface-lost': 'the WireGuard interface is gone',
};

/** Codes that have words; for the test that compares them with the documents. */
export const REASON_CODES: readonly string[] = Object.keys(WORDS);

/** A code with its words; a code without words stands for itself. */
export function reasonOf(code: string): Reason {
  return { code, text: WORDS[code] ?? code.replaceAll('-', ' ') };
}

import type { Clock, Random } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import {
  authorGenesis,
  generateSigningKey,
  type LogHead,
  type NodeKeys,
  type SignatureVerifier,
} from '@towpath/membership';
import { openSetupCode, proveSetupCode } from '../wire/setup-code.ts';
import type { ClientStorage } from './client-storage.ts';
import { failureError, PartyReplica } from './party-replica.ts';
import type { ControlTransport, RequestOptions } from './transport.ts';

/** Creates a party with its own key, stores that key, and sends the first statement to a server. */
export async function foundParty(
  components: {
    transport: ControlTransport;
    clock: Clock;
    random: Random;
    storage: ClientStorage;
    verify: SignatureVerifier;
  },
  options: {
    name: string;
    memberName: string;
    setupCode?: string | undefined;
    keys: NodeKeys;
    request: RequestOptions;
  },
): Promise<PartyReplica> {
  const { transport, clock, random, storage } = components;
  const setupKey = options.setupCode === undefined ? undefined : openSetupCode(options.setupCode).key;
  const partyKey = generateSigningKey(random);
  const genesis = authorGenesis({
    partyKey,
    partyName: options.name,
    founder: options.keys,
    founderName: options.memberName,
    timeMs: clock.wallTime(),
  });
  const replica = new PartyReplica(components, { partyKey: partyKey.publicKey });
  const { failure } = await replica.offer(0, [genesis]);
  if (failure !== undefined) throw new ControlError('invalid-statement', failure.message);
  // Stored before the party exists: without this key no other founder could be appointed.
  await storage.savePartySecret(replica.id, partyKey.seed);
  const proof = setupKey && proveSetupCode(setupKey, genesis.bytes);
  try {
    await transport.append(replica.id, 0, genesis.bytes, { ...options.request, setupProof: proof });
  } catch (error) {
    // After a refusal there is no such party. After a lost answer there may be one, and its key must stay.
    if (error instanceof ControlError && error.kind === 'refused') await storage.removePartySecret(replica.id);
    throw error;
  }
  return replica;
}

/**
 * Reads a party's log with an invite and compares it with the head in the invite.
 * @throws ControlError `untrusted-log` when the log is forged, or shorter than the invite proves
 */
async function readAsGuest(
  transport: ControlTransport,
  replica: PartyReplica,
  head: LogHead,
  request: RequestOptions,
): Promise<void> {
  for (;;) {
    const { length, statements } = await transport.readLog(replica.id, replica.length, request);
    const { added, failure } = await replica.offer(replica.length, statements);
    if (failure !== undefined) throw failureError(failure);
    if (added === 0 || replica.length >= length) break;
  }
  if (replica.compare(head) === 'known') return;
  const message =
    'Verification failed: the log of the control server does not match the invite. Next: ask for a new invite, over another channel.';
  throw new ControlError('untrusted-log', message);
}

/**
 * Reads a party by an invite; one that was used up by this very node is no obstacle to it.
 * @param requests `invited` is signed with the key of the invite, `own` with the key of this node
 * @throws ControlError as {@link readAsGuest}; `invalid-invite`
 */
export async function readInvited(
  transport: ControlTransport,
  replica: PartyReplica,
  head: LogHead,
  requests: { invited: RequestOptions; own: RequestOptions },
): Promise<void> {
  try {
    await readAsGuest(transport, replica, head, requests.invited);
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== 'invalid-invite') throw error;
    // The answer to an earlier attempt may have been lost on its way.
    await readAsGuest(transport, replica, head, requests.own).catch(() => {
      throw error;
    });
  }
}

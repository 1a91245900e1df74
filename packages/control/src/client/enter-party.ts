import type { Clock, Random } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import {
  authorAppointment,
  authorFounderReplacement,
  authorGenesis,
  authorJoin,
  generateSigningKey,
  type Invite,
  type LogHead,
  type NodeKeys,
  type SignatureVerifier,
  type SigningKey,
  signingKeyFromSeed,
} from '@towpath/membership';
import { openSetupCode, proveSetupCode } from '../wire/setup-code.ts';
import type { ClientStorage } from './client-storage.ts';
import type { OwnKeys } from './own-keys.ts';
import { failureError, PartyReplica } from './party-replica.ts';
import type { PartySession } from './party-session.ts';
import type { ControlTransport, RequestOptions } from './transport.ts';

/**
 * Creates a party with its own key, stores that key, and sends the first statement to a server.
 * @throws ControlError `invalid-statement`; as {@link ControlTransport.append}
 */
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
async function readInvited(
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

/**
 * Makes this node a member of the party that an invite is for; one that is a member already stays as it is.
 * @param session of the invite's party
 * @throws ControlError `invalid-invite`, `untrusted-log`; as {@link PartySession.appendStatement}
 */
export async function joinParty(
  { transport, clock, keys }: { transport: ControlTransport; clock: Clock; keys: OwnKeys },
  session: PartySession,
  options: { invite: Invite; memberName: string; signal: AbortSignal | undefined },
): Promise<void> {
  const { invite, memberName, signal } = options;
  const inviteKey = signingKeyFromSeed(invite.secret);
  await readInvited(transport, session.replica, invite.head, {
    invited: { key: inviteKey, signal },
    own: keys.request(signal),
  });
  if (session.self !== undefined) return;
  await session.appendStatement(
    (state) => authorJoin(state, { invite: inviteKey, node: keys.node, name: memberName, timeMs: clock.wallTime() }),
    signal,
    inviteKey,
  );
}

/**
 * Makes this node the founder of a party with the party's key.
 * @throws ControlError `forbidden` when the servers do not know the key's party; as {@link PartySession.appendStatement}
 */
export async function recoverParty(
  { clock, keys }: { clock: Clock; keys: OwnKeys },
  session: PartySession,
  options: { partyKey: SigningKey; memberName: string; signal: AbortSignal | undefined },
): Promise<void> {
  const { partyKey, memberName, signal } = options;
  await session.sync(signal, partyKey);
  const timeMs = clock.wallTime();
  await session.appendStatement(
    (state) => {
      const member = state.memberByKey(keys.current.signing.publicKey);
      if (member?.role === 'founder') return undefined;
      if (member !== undefined) return authorAppointment(state, { partyKey, member: member.id, timeMs });
      return authorFounderReplacement(state, { partyKey, node: keys.node, name: memberName, timeMs });
    },
    signal,
    partyKey,
  );
}

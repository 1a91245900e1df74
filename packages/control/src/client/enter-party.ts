import type { Random } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import { generateSigningKey, type SignatureVerifier } from '../identity/keys.ts';
import { authorGenesis, type NodeKeys } from '../membership/author.ts';
import type { LogHead } from '../membership/party-state.ts';
import type { ClientStorage } from './client-storage.ts';
import { PartyReplica } from './party-replica.ts';
import type { ControlTransport, RequestOptions } from './transport.ts';

/** Makes a party with a key of its own, keeps that key, and hands the first statement to a server. */
export async function foundParty(
  components: { transport: ControlTransport; random: Random; storage: ClientStorage; verify: SignatureVerifier },
  options: { name: string; memberName: string; keys: NodeKeys; request: RequestOptions },
): Promise<PartyReplica> {
  const { transport, random, storage, verify } = components;
  const partyKey = generateSigningKey(random);
  const genesis = authorGenesis({
    partyKey,
    partyName: options.name,
    founder: options.keys,
    founderName: options.memberName,
    timeMs: transport.serverTime(),
  });
  const replica = new PartyReplica(partyKey.publicKey, verify);
  const { doubt } = await replica.offer(0, [genesis.bytes]);
  if (doubt !== undefined) throw new ControlError('invalid-statement', doubt.message);
  // Before anybody knows of the party: without this key it could never get another founder.
  await storage.savePartySecret(replica.id, partyKey.seed);
  await transport.append(replica.id, 0, genesis.bytes, options.request);
  return replica;
}

/**
 * Reads a party's log by an invite, and holds it against what the inviter saw.
 * @throws ControlError `untrusted-log` when the server shows something forged, or less than the invite proves.
 */
export async function readAsGuest(
  transport: ControlTransport,
  replica: PartyReplica,
  head: LogHead,
  request: RequestOptions,
): Promise<void> {
  for (;;) {
    const { length, statements } = await transport.readLog(replica.id, replica.length, request);
    const { added, doubt } = await replica.offer(replica.length, statements);
    if (doubt !== undefined) throw new ControlError('untrusted-log', doubt.message);
    if (added === 0 || replica.length >= length) break;
  }
  if (replica.compare(head) === 'known') return;
  const message =
    'The control server does not show the party as the invite describes it: it hides or changes something. Ask for a new invite, over another way.';
  throw new ControlError('untrusted-log', message);
}

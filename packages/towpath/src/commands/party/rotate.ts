import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { CONNECTED, takeProcessLock } from '../../config/process-lock.ts';
import { findParty, homeOf, PartyNode } from './party-node.ts';
import { printJson } from '../../cli/json-output.ts';

/** Replaces this node's keys in every party, one after the other; continues an interrupted rotation. */
export async function rotate(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io, signal } = runtime;
  const home = homeOf(runtime);
  // A process that is connected with the old keys would consider itself removed.
  using _lock = takeProcessLock(home.lockPath, CONNECTED);
  findParty(runtime, home.parties()[0]?.id);
  const next = await home.beginRotation();
  for (const party of home.parties()) {
    await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
    await node.current(party);
    await node.client.rotateKeys(next, { signal });
    const { rotations } = node.client.party(party.id)?.self ?? { rotations: 0 };
    if (json) printJson(io, 'rotated', { party: { id: party.id, name: party.name }, rotations });
    else io.out(`${party.name}: keys of this node replaced.`);
  }
  await home.endRotation(next);
}

import { ControlError } from '@towpath/control';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { counted } from '../../cli/table.ts';
import { timeText } from '../../cli/time-text.ts';
import type { KnownParty } from '../../config/party-home.ts';
import { CONNECTED, takeProcessLock } from '../../config/process-lock.ts';
import { untilOver } from '../../serve/run-time.ts';
import { describeChange, memberChanges } from './member-changes.ts';
import { type MemberRecord, memberRecords, memberTable } from './member-view.ts';
import { homeOf, PartyNode } from './party-node.ts';
import { jsonLine } from '../../cli/json-output.ts';

interface WatchOptions extends CommonOptions {
  /** Seconds. */
  for?: number;
}

/** How long the first list waits for a server. */
const FIRST_ANSWER_MS = 2_000;

/**
 * Stays connected and prints changes in a party until the time limit or until this node is no longer a member.
 * @throws ControlError `not-a-member` when this node was removed; MembershipError, at the end, when verification of a
 *   server's data failed; TowpathError `already-running`.
 */
export async function watchMembers(runtime: Runtime, party: KnownParty, options: WatchOptions): Promise<void> {
  const { io, clock, signal } = runtime;
  const { id, name } = party;
  using _lock = takeProcessLock(homeOf(runtime).lockPath, CONNECTED);
  await using node = await PartyNode.open(runtime, party.servers, { party: id, live: true });
  const { client } = node;
  // Changes that arrive before the first list are printed after it.
  let waiting: string[] | undefined = [];
  const tell = (type: string, told: Readonly<Record<string, unknown>>, text: string) => {
    const at = new Date(clock.wallTime()).toISOString();
    const line = options.json ? jsonLine(type, { at, ...told }) : `${timeText(io, clock.wallTime())}  ${text}`;
    if (waiting === undefined) io.out(line);
    else waiting.push(line);
  };
  const current = () => {
    const view = client.party(id);
    return view === undefined ? [] : memberRecords(view, client.connected);
  };
  const ended = new AbortController();
  let shown: MemberRecord[] = [];
  let reason: 'removed' | 'left' | undefined;
  const update = () => {
    if (waiting !== undefined) return;
    const now = current();
    for (const change of memberChanges(shown, now)) {
      const { type, member } = change;
      tell(type, { member }, describeChange(change));
    }
    shown = now;
  };
  client.events.on('party', update);
  client.events.on('presence', update);
  client.events.on('server', ({ connected, address }) => {
    tell('server', { connected, address }, connected ? `connected to ${address}` : 'not connected to any server');
    update();
  });
  client.events.on('suspicion', ({ kind, sequence, message }) =>
    tell('suspicion', { kind, statement: sequence, message }, `${kind.toUpperCase()}: ${message}`),
  );
  client.events.on('left', (left) => {
    reason = left.reason;
    const text = reason === 'left' ? `This node has left ${name}` : `This node was removed from ${name}`;
    tell('left', { reason }, text);
    ended.abort();
  });
  await node.askFirst(id, FIRST_ANSWER_MS);
  shown = current();
  const heard = waiting;
  waiting = undefined;
  tell('members', { party: { id, name }, members: shown }, `${name}: ${counted(shown.length, 'member')}`);
  if (!options.json) for (const line of memberTable(shown)) io.out(line);
  for (const line of heard) io.out(line);
  await untilOver({ ...runtime, signal: AbortSignal.any([signal, ended.signal]) }, options.for);
  if (signal.aborted) return;
  if (reason === 'removed') {
    throw new ControlError('not-a-member', `This node was removed from ${name}. Next: ask for a new invite.`, {
      target: name,
    });
  }
  node.throwIfSuspicious(name);
}

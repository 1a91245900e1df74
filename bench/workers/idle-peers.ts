/** A control server and the members of one party, all in one process; each keeps a path to the first member. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshPathFinder } from '@towpath/mesh';
import { homeOf, PartyNode } from '../../packages/towpath/src/commands/party/party-node.ts';
import { run } from '../../packages/towpath/src/main.ts';
import { command, nodeRuntime } from '../support/bench-line.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface IdlePeersTask {
  /** Folder of the first member, which is made here and used by another process. */
  home: string;
  peers: number;
}

const { home, peers } = workerTask<IdlePeersTask>();
const folder = mkdtempSync(join(tmpdir(), 'towpath-bench-'));
const end = new AbortController();
const lines: string[] = [];
const serving = run(
  ['serve', '--port', '0', '--no-builtin-relay', '--open', '--json'],
  nodeRuntime(join(folder, 'server'), lines, end.signal),
);
const server = await listening();
await command(home, 'party', 'create', 'camp', '--server', server, '--as', 'first');
const invite = await command(home, 'party', 'invite', '--uses', String(peers), '--json');
const { code } = JSON.parse(invite.at(-1) ?? '{}') as { code: string };
const members: AsyncDisposable[] = [];
for (let n = 0; n < peers; n++) members.push(...(await member(n)));
tell({ peers });
await parentLeft();
for (const each of members.reverse()) await each[Symbol.asyncDispose]();
end.abort();
await serving;
rmSync(folder, { recursive: true, force: true });

async function member(n: number): Promise<AsyncDisposable[]> {
  const own = join(folder, `member-${n}`);
  await command(own, 'party', 'join', code, '--server', server, '--as', `member${n}`);
  const runtime = nodeRuntime(own);
  const [party] = homeOf(runtime).parties();
  if (party === undefined) throw new Error('It has not joined.');
  const node = await PartyNode.open(runtime, party.servers, { party: party.id, live: true });
  const view = await node.client.refresh(party.id);
  const { wireGuard } = await homeOf(runtime).identityIn(party.id);
  const finder = await MeshPathFinder.open(
    { ...runtime, control: node.client },
    { party: party.id, self: view.self.id, wireGuardKey: wireGuard, portMapping: false },
  );
  const first = view.peers.find(({ name }) => name === 'first');
  if (first === undefined) throw new Error('The first member is missing.');
  return [node, finder, finder.open({ party: party.id, peer: first, onDatagram: () => {} })];
}

async function listening(): Promise<string> {
  for (;;) {
    for (const line of lines) {
      const { what, endpoints } = JSON.parse(line) as { what?: string; endpoints?: { port: number }[] };
      if (what === 'control' && endpoints?.[0] !== undefined) return `http://127.0.0.1:${endpoints[0].port}`;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { HttpTransport } from '../src/client/http-transport.ts';
import { RemovedMembers } from '../src/client/removed-members.ts';
import type { ControlServer } from '../src/http/control-server.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import { relayKey } from '../src/wire/relay-key.ts';
import { MAX_ASKED_MEMBERS, turnMember, turnUser } from '../src/wire/turn-user.ts';
import { clock, random, Rig, signedHeaders, until } from './http-fixture.ts';

const SECRET = 'a secret that is long enough';
const OLD_SECRET = 'the secret before that one';
const CHALLENGE = 'AAAAAAAAAAAAAAAAAAAAAA';

/** Ann's party with Ben, and the users of their TURN credentials. */
async function camp(rig: Rig, server: ControlServer) {
  const [ann, ben] = [await rig.client([server.address]), await rig.client([server.address])];
  const { id, self } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
  const join = async () => ben.join(await ann.invite(id), { memberName: 'Ben' });
  await join();
  const member = ben.party(id)!.self.id;
  const user = turnUser({ member, party: id, founder: self.id });
  await until(() => ann.party(id)!.peers.length === 1, 'Ben');
  return { ann, ben, join, id, member, user, founder: turnUser({ member: self.id, party: id, founder: self.id }) };
}

/** What a relay knows; its own time stands still unless the test moves it. */
function relayOf(stack: AsyncDisposableStack, servers: readonly string[], secrets: readonly string[] = [SECRET]) {
  const ended: string[] = [];
  const time = new VirtualClock(Date.now());
  const onRemoved = (users: readonly string[]) => void ended.push(...users);
  const members = stack.use(new RemovedMembers({ clock: time, random }, { servers, secrets, onRemoved }));
  /** Lets the relay ask, and waits for the answers. */
  const ask = async () => {
    const { asked, failed } = members.stats;
    await time.advance(5_000);
    await until(() => members.stats.asked > asked || members.stats.failed > failed, 'a question');
    await members.idle();
  };
  return { members, ended, ask };
}

describe('a relay in another process (A4)', () => {
  test('learns who was removed, ends them, and takes them back when they have joined again', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const server = await rig.server({ turnSecret: SECRET });
    const { ann, ben, join, id, member, user, founder } = await camp(rig, server);
    const { members, ended, ask } = relayOf(stack, [server.address]);
    expect([user, founder, 'somebody else'].map((each) => members.isRemoved(each))).toEqual([false, false, false]);
    await ask();
    expect([members.isRemoved(user), ended]).toEqual([false, []]);
    await ann.remove(id, member);
    await ask();
    expect([members.isRemoved(user), members.isRemoved(founder), [...new Set(ended)]]).toEqual([true, false, [user]]);
    expect(members.stats).toMatchObject({ failed: 0, removed: 1 });
    await until(() => ben.parties().length === 0, 'Ben to know');
    await join();
    await ask();
    expect(members.isRemoved(user)).toBe(false);
  });

  test('asks at once for a user that it does not know', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const server = await rig.server({ turnSecret: SECRET });
    const { ann, id, member, user } = await camp(rig, server);
    await ann.remove(id, member);
    const ended: string[] = [];
    const init = {
      servers: [server.address],
      secrets: [SECRET],
      onRemoved: (users: readonly string[]) => ended.push(...users),
    };
    const members = stack.use(new RemovedMembers({ clock, random }, init));
    members.isRemoved(user);
    // Real time: the next regular question would come after five seconds.
    await until(() => ended.includes(user), 'the answer', 4_000);
  });

  test('knows more users than fit into one request', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const server = await rig.server({ turnSecret: SECRET });
    const { ann, id, member, user, founder } = await camp(rig, server);
    await ann.remove(id, member);
    const { members, ended, ask } = relayOf(stack, [server.address]);
    const others = Array.from({ length: 3 * MAX_ASKED_MEMBERS }, (_, at) =>
      turnUser({ member: at.toString(16).padStart(32, '0'), party: id, founder: '0'.repeat(32) }),
    );
    for (const each of [...others, founder, user]) members.isRemoved(each);
    await ask();
    expect(ended.length).toBe(others.length + 1);
    expect(ended).not.toContain(founder);
    expect(members.stats).toMatchObject({ asked: 4, failed: 0 });
  });

  test('goes on with the last answers while its server is gone, and says so', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const server = await rig.server({ turnSecret: SECRET });
    const { ann, id, member, user, founder } = await camp(rig, server);
    const { members, ask } = relayOf(stack, [server.address]);
    await ann.remove(id, member);
    for (const each of [user, founder]) members.isRemoved(each);
    await ask();
    await server.close();
    await ask();
    expect([members.isRemoved(user), members.isRemoved(founder)]).toEqual([true, false]);
    expect(members.stats.failed).toBe(1);
  });

  test('asks every server: one that does not answer, or has another party, hides no removal', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const server = await rig.server({ turnSecret: SECRET });
    const other = await rig.server({ turnSecret: SECRET });
    const { ann, id, member, user } = await camp(rig, server);
    const { members, ended, ask } = relayOf(stack, ['http://127.0.0.1:9', other.address, server.address]);
    members.isRemoved(user);
    await ann.remove(id, member);
    await ask();
    await until(() => ended.includes(user), 'the removal');
    expect(members.isRemoved(user)).toBe(true);
  });

  test('survives the replacement of the secret at the relay first, and at the server later', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const store = new MemoryStore({ clock });
    const before = await rig.server({ turnSecret: OLD_SECRET }, store);
    const after = await rig.server({ turnSecret: SECRET, previousTurnSecrets: [OLD_SECRET] }, store);
    const { ann, id, member, user } = await camp(rig, before);
    await ann.remove(id, member);
    for (const [server, secrets] of [
      [before, [SECRET, OLD_SECRET]],
      [after, [SECRET, OLD_SECRET]],
      [after, [OLD_SECRET]],
    ] as const) {
      const { members, ask } = relayOf(stack, [server.address], secrets);
      members.isRemoved(user);
      await ask();
      expect([members.isRemoved(user), members.stats.failed]).toEqual([true, 0]);
    }
  });

  test('believes no answer that was changed on the way', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const { user, founder, id } = await camp(rig, await rig.server({ turnSecret: SECRET }));
    const removed = [turnMember({ member: founder.split('.')[0]!, party: id })];
    const liar = createServer((request, answer) => {
      const { searchParams } = new URL(request.url ?? '', 'http://liar');
      // A right proof, of another answer.
      const proof = relayKey(SECRET).prove(searchParams.get('challenge') ?? '', []);
      answer.end(JSON.stringify({ removed, proof }));
    });
    await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
    stack.defer(() => void liar.close());
    const { members, ended, ask } = relayOf(stack, [`http://127.0.0.1:${(liar.address() as AddressInfo).port}`]);
    for (const each of [user, founder]) members.isRemoved(each);
    await ask();
    expect([ended, members.isRemoved(founder), members.stats.failed]).toEqual([[], false, 1]);
  });

  test('is refused without the secret, before anything is looked up', async () => {
    await using rig = new Rig();
    const server = await rig.server({ turnSecret: SECRET });
    const { user } = await camp(rig, server);
    const transport = new HttpTransport({ clock, random }, { servers: [server.address] });
    for (const key of [relayKey('another secret of a stranger').signing, generateNodeIdentity(random).signing]) {
      const asked = transport.removedMembers([user.split('.').slice(0, 2).join('.')], CHALLENGE, { key });
      await expect(asked).rejects.toMatchObject({ code: 'forbidden' });
    }
    await transport.close();
  });

  test.each([
    ['nobody', ''],
    [
      'too many',
      Array(MAX_ASKED_MEMBERS + 1)
        .fill(`${'0'.repeat(32)}.${'1'.repeat(32)}`)
        .join(','),
    ],
    ['something else', `${'0'.repeat(32)}.${'1'.repeat(31)}g`],
  ])('is refused when it asks for %s', async (_what, members) => {
    await using rig = new Rig();
    const server = await rig.server({ turnSecret: SECRET });
    const path = `/v1/removed-members?members=${members}&challenge=${CHALLENGE}`;
    const headers = { host: 'rig.test', ...signedHeaders(generateNodeIdentity(random), 'GET', path) };
    const answer = await server.inject({ method: 'GET', url: path, headers });
    expect([answer.statusCode, answer.json().code]).toEqual([400, 'invalid-request']);
  });
});

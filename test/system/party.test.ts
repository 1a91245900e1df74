import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SystemRandom } from '@towpath/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { generateNodeIdentity } from '../../packages/control/src/identity/node-identity.ts';
import { authorJoin, decodeStatement, generateSigningKey, PartyState, replayLog } from '@towpath/membership';
import { Lab, labAvailable, says } from './support/lab.ts';
import { PartyHost, type Watch } from './support/party.ts';

const SERVER = '203.0.113.10';
const URL_OF_SERVER = `http://${SERVER}:4100`;
/** Unsolicited messages arrive within this time. */
const AT_ONCE_MS = 1_000;
/** Time limit for a client to reconnect after its server is back. */
const BACK_MS = 10_000;

const soon = { interval: 10, timeout: BACK_MS };
const since = (line: { at: string } | undefined, startMs: number) => Date.parse(line?.at ?? '') - startMs;

describe.skipIf(!labAvailable() && process.env.CI !== 'true')('a party on hosts of its own', () => {
  let lab: Lab;
  let folder: string;
  let server: PartyHost;
  let ann: PartyHost;
  let ben: PartyHost;
  let cleo: PartyHost;

  beforeEach(() => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-party-'));
    const host = (name: string, address: string) => new PartyHost(name, lab.host(name, address), folder);
    server = host('server', SERVER);
    ann = host('ann', '203.0.113.20');
    ben = host('ben', '203.0.113.30');
    cleo = host('cleo', '203.0.113.40');
  });

  afterEach(async () => {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const serve = async (...more: string[]) => {
    const child = server.start('serve', '--open', '--address', SERVER, ...more);
    await says(child, /control +listens[\s\S]*serving/);
    return child;
  };
  const stop = async (child: ReturnType<PartyHost['start']>, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  };

  /** Ann founds a party, the others join it by code, and all stay connected. */
  async function gather(): Promise<{ watches: Watch[]; party: string; joinedAt: number[] }> {
    const { party } = await ann.told<{ party: { id: string } }>(
      ...(['party', 'create', 'camp', '--server', SERVER, '--as', 'Ann'] as const),
    );
    const annWatches = ann.watch();
    await expect.poll(() => annWatches.find('server'), soon).toBeDefined();
    const { code } = await ann.told<{ code: string }>('party', 'invite', '--uses', '5');
    const joinedAt: number[] = [];
    for (const [host, as] of [
      [ben, 'Ben'],
      [cleo, 'Cleo'],
    ] as const) {
      const { at } = await host.told<{ at: string }>('party', 'join', code, '--server', SERVER, '--as', as);
      joinedAt.push(Date.parse(at));
    }
    const watches = [annWatches, ben.watch(), cleo.watch()];
    await expect.poll(() => watches.map((watch) => watch.find('server')?.connected), soon).toEqual([true, true, true]);
    return { watches, party: party.id, joinedAt };
  }

  test('created on one, joined by code on two others: each sees the others within a second, and a removal as soon (C12)', async () => {
    await serve();
    const { watches, joinedAt } = await gather();
    const [annWatches, benWatches, cleoWatches] = watches as [Watch, Watch, Watch];
    for (const [at, name] of ['Ben', 'Cleo'].entries()) {
      expect(Math.abs(since(annWatches.find('joined', name), joinedAt[at]!))).toBeLessThan(AT_ONCE_MS);
    }
    await expect
      .poll(() => watches.map(({ online }) => online), soon)
      .toEqual([
        ['Ben', 'Cleo'],
        ['Ann', 'Cleo'],
        ['Ann', 'Ben'],
      ]);
    // Everybody saw the last one within a second of its connection.
    const lastAt = Math.max(...watches.map((watch) => Date.parse(watch.find('server')!.at)));
    const cameAt = watches.flatMap(({ lines }) =>
      lines.filter(({ type }) => type === 'online').map(({ at }) => Date.parse(at)),
    );
    const seeing = Math.max(0, ...cameAt.map((at) => at - lastAt));
    expect(seeing).toBeLessThan(AT_ONCE_MS);

    const startMs = Date.now();
    const removed = await ann.run('party', 'remove', 'Ben');
    expect(removed).toMatchObject({ code: 0 });
    await expect
      .poll(() => [annWatches.find('gone'), benWatches.find('left'), cleoWatches.find('gone')], soon)
      .not.toContain(undefined);
    const told = [
      since(annWatches.find('gone'), startMs),
      since(benWatches.find('left'), startMs),
      since(cleoWatches.find('gone'), startMs),
    ];
    // From the start of the command, which takes most of it.
    expect(Math.max(...told) - Math.min(...told)).toBeLessThan(AT_ONCE_MS);
    console.log(
      `presence complete ${seeing} ms after the last connection; a removal at all three within ${Math.max(...told) - Math.min(...told)} ms of each other, ${Math.max(...told)} ms after the command was started`,
    );
    expect(await cleo.members()).toEqual(['Ann', 'Cleo']);
    expect((await ben.run('party', 'members')).stderr).toContain('in no party');
  });

  test('a restart of the server, even by kill -9, loses nothing; all are back in seconds (C12)', async () => {
    let serving = await serve();
    const { watches } = await gather();
    await expect.poll(() => watches.every(({ online }) => online.length === 2), soon).toBe(true);
    const before = await ann.told<{ statements: number; members: unknown[] }>('party', 'members');
    const back: number[] = [];
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const seen = watches.map(({ lines }) => lines.length);
      await stop(serving, signal);
      await expect
        .poll(() => watches.every((watch, at) => watch.find('server', undefined, seen[at]) !== undefined), soon)
        .toBe(true);
      const offline = await cleo.run('party', 'members');
      expect(offline.stderr).toContain('This is the last verified list');
      expect(offline.stdout).toContain('Ann');
      serving = await serve();
      const upAt = Date.now();
      const connected = (watch: Watch, at: number) =>
        watch.lines.slice(seen[at]).findLast(({ type }) => type === 'server')?.connected === true;
      await expect.poll(() => watches.every(connected), soon).toBe(true);
      await expect.poll(() => watches.every(({ online }) => online.length === 2), soon).toBe(true);
      back.push(Date.now() - upAt);
    }
    expect(await ann.told('party', 'members')).toMatchObject({ statements: before.statements, fresh: true });
    for (const watch of watches) expect(watch.find('suspicion')).toBeUndefined();
    console.log(`everybody sees everybody ${back.join(' and ')} ms after the server is up again`);
  });

  test('a member forged into a copy of the server’s store is refused by every client, which says so (C12)', async () => {
    const data = join(folder, 'data');
    const serving = await serve('--data', data);
    const { watches, party } = await gather();
    const { code } = await ann.told<{ code: string }>('party', 'invite');
    await expect.poll(() => watches.every(({ online }) => online.length === 2), soon).toBe(true);
    await stop(serving);

    const copy = join(folder, 'copy');
    mkdirSync(copy, { mode: 0o700 });
    copyFileSync(join(data, 'control.db'), join(copy, 'control.db'));
    copyFileSync(join(data, 'turn.secret'), join(copy, 'turn.secret'));
    chmodSync(join(copy, 'turn.secret'), 0o600);
    forgeMember(join(copy, 'control.db'), party);
    await serve('--data', copy);
    await expect
      .poll(() => watches.map((watch) => watch.find('suspicion')?.kind), soon)
      .toEqual(['forged', 'forged', 'forged']);
    for (const watch of watches) {
      expect(watch.find('suspicion')!.message).toContain('none of it was applied');
      expect(watch.find('joined', 'Mallory')).toBeUndefined();
    }
    for (const host of [ann, ben, cleo]) {
      const { code: exit, stdout, stderr } = await host.run('party', 'members');
      expect([exit, stdout]).toEqual([6, expect.not.stringContaining('Mallory')]);
      expect(stderr).toMatch(/Verification of the control server's data failed/);
    }
    const dan = new PartyHost('dan', lab.host('dan', '203.0.113.50'), folder);
    const joining = await dan.run('party', 'join', code, '--server', URL_OF_SERVER, '--as', 'Dan');
    expect([joining.code, joining.stderr]).toEqual([6, expect.stringContaining('Verification of the control server')]);
  });
});

/** Writes a join into the log that fits in everything but the signature of the invite's key, which nobody but joiners has. */
function forgeMember(database: string, party: string): void {
  const random = new SystemRandom();
  using store = new DatabaseSync(database);
  const rows = store.prepare('SELECT statement FROM statements WHERE party = ? ORDER BY sequence').all(party);
  const log = rows.map(({ statement }) => statement as Uint8Array);
  const genesis = decodeStatement(log[0]!);
  if (!genesis.ok || genesis.statement.content.type !== 'genesis') throw new Error('the log has no beginning');
  const { state } = replayLog(new PartyState(genesis.statement.content.partyKey), log);
  const invite = [...state.invites.values()].find(({ uses, maxUses }) => uses < maxUses)!;
  const mallory = generateNodeIdentity(random);
  const join = authorJoin(state, {
    invite: { ...generateSigningKey(random), publicKey: invite.inviteKey },
    node: { signing: mallory.signing, wireGuardPublicKey: mallory.wireGuard.publicKey },
    name: 'Mallory',
    timeMs: state.timeMs + 1,
  });
  store
    .prepare('INSERT INTO statements (party, sequence, statement) VALUES (?, ?, ?)')
    .run(party, join.sequence, join.bytes);
}

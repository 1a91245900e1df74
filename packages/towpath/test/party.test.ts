import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { formatEndpoint } from '@towpath/net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandLine, type Running } from './command-line.ts';

/** A control plane and three people, each with a configuration folder of their own. */
class Scene {
  readonly server = new CommandLine();
  readonly ann = new CommandLine();
  readonly ben = new CommandLine();
  readonly cleo = new CommandLine();
  #running: Running | undefined;
  url = '';

  async serve(...more: string[]): Promise<void> {
    const port = this.url === '' ? '0' : new URL(this.url).port;
    this.#running = this.server.start(['serve', '--port', port, '--no-builtin-relay', '--open', '--json', ...more]);
    const [control] = await this.#running.listening('control');
    this.url = `http://${formatEndpoint(control!)}`;
  }

  async stopServing(): Promise<void> {
    await this.#running?.stop();
  }

  /** Ann founds a party, and everybody named joins it by one code. */
  async party(...joiners: [CommandLine, string][]): Promise<void> {
    await ok(this.ann, 'party', 'create', 'camp', '--server', this.url, '--as', 'Ann');
    const { code } = await told<{ code: string }>(this.ann, 'party', 'invite', '--uses', '9', '--json');
    for (const [commandLine, name] of joiners) {
      await ok(commandLine, 'party', 'join', code, '--server', this.url, '--as', name);
    }
  }

  get database(): string {
    return this.server.file('config/serve/control.db');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopServing();
    for (const commandLine of [this.server, this.ann, this.ben, this.cleo]) commandLine[Symbol.dispose]();
  }
}

async function ok(commandLine: CommandLine, ...args: string[]): Promise<string[]> {
  const { code, out, err } = await commandLine.run(args);
  expect([args, code, err]).toEqual([args, 0, expect.any(String)]);
  return out;
}

async function told<T>(commandLine: CommandLine, ...args: string[]): Promise<T> {
  return JSON.parse((await ok(commandLine, ...args)).at(-1)!) as T;
}

interface Members {
  fresh: boolean;
  members: { name: string; role: string; virtualAddress: string; online: boolean; self: boolean }[];
}

const namesOf = async (commandLine: CommandLine) =>
  (await told<Members>(commandLine, 'party', 'members', '--json')).members.map(({ name }) => name);

interface Line {
  type: string;
  at: string;
  kind?: string;
  message?: string;
  connected?: boolean;
  member?: { name: string; role: string };
  members?: { name: string; online: boolean }[];
}

const linesOf = (running: Running) => running.out.map((line) => JSON.parse(line) as Line);
const seen = (running: Running, type: string, name?: string) =>
  linesOf(running).find((line) => line.type === type && (name === undefined || line.member?.name === name));

async function sees(running: Running, type: string, name?: string): Promise<Line> {
  await expect.poll(() => seen(running, type, name), { interval: 5 }).toBeDefined();
  return seen(running, type, name)!;
}

describe('party', () => {
  let scene: Scene;
  beforeEach(async () => {
    scene = new Scene();
    await scene.serve();
  });
  afterEach(() => scene[Symbol.asyncDispose]());

  test('is created on one node and joined with a code and with a link; all list the same members (C12)', async () => {
    const { ann, ben, cleo, url } = scene;
    const created = await told<{ party: { id: string }; keyFile: string }>(
      ...([ann, 'party', 'create', 'camp', '--server', url.slice(7), '--as', 'Ann', '--json'] as const),
    );
    expect(statSync(created.keyFile).mode & 0o777).toBe(0o600);
    const invite = await told<{ code: string; link: string; servers: string[]; maxUses: number }>(
      ...([ann, 'party', 'invite', '--uses', '2', '--hours', '1', '--json'] as const),
    );
    expect(invite.code).toMatch(/^([0-9A-Z]{4}-){3}[0-9A-Z]{4}$/);
    expect(invite).toMatchObject({ maxUses: 2, servers: [url] });
    const byCode = await told<{ member: { name: string } }>(
      ...([ben, 'party', 'join', invite.code.toLowerCase(), '--server', url, '--as', 'Ben', '--json'] as const),
    );
    expect(byCode.member.name).toBe('Ben');
    // A link says where the servers are.
    expect((await ok(cleo, 'party', 'join', invite.link, '--as', 'Cleo'))[0]).toMatch(
      /^Joined camp as Cleo \(member\), 10\.66\.\d+\.\d+\.$/,
    );
    const lists = await Promise.all(
      [ann, ben, cleo].map((commandLine) => told<Members>(commandLine, 'party', 'members', '--json')),
    );
    for (const { fresh, members } of lists) {
      expect(fresh).toBe(true);
      expect(members.map(({ name }) => name).sort()).toEqual(['Ann', 'Ben', 'Cleo']);
      expect(new Set(members.map(({ virtualAddress }) => virtualAddress)).size).toBe(3);
    }
    expect((await ann.run(['party', 'join', invite.link])).code).toBe(0);
    const used = await scene.server.run(['party', 'join', invite.code, '--server', url]);
    expect([used.code, used.err]).toEqual([4, expect.stringContaining('already been used')]);
  });

  test('stores keys with file mode 0600 and folder mode 0700 (C12)', async () => {
    const { ann } = scene;
    await scene.party();
    const modes = (folder: string): string[] =>
      readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const path = join(folder, entry.name);
        const mode = (statSync(path).mode & 0o777).toString(8);
        return entry.isDirectory() ? [`folder ${mode}`, ...modes(path)] : [`file ${mode}`];
      });
    expect([...new Set(modes(ann.file('config')))].sort()).toEqual(['file 600', 'folder 700']);
    const out = await ok(ann, 'party', 'list', '--json');
    const secrets = ['signingSeed', JSON.parse(readFileSync(ann.file('config/node.json'), 'utf8')).signingSeed];
    for (const secret of secrets) expect(out.join()).not.toContain(secret);
  });

  test('prints an invite as a code, a link and a QR code with lines of one width (C12)', async () => {
    const { ann } = scene;
    await scene.party();
    for (const [terminal, corner] of [
      ['dark', '█'],
      ['light', ' '],
    ] as const) {
      const out = await ok(ann, 'party', 'invite', '--qr', terminal, '--server', 'https://towpath.example.org');
      const code = out.filter((line) => /^[█▀▄ ]{40,}$/.test(line));
      expect(code.length).toBeGreaterThan(20);
      expect(new Set(code.map((line) => line.length)).size).toBe(1);
      expect(code[0]).toBe(corner.repeat(code[0]!.length));
      expect(out.at(-1)).toContain('--server https://towpath.example.org');
    }
    const onlyLink = await ok(ann, 'party', 'invite', '--no-code');
    expect(onlyLink.map((line) => line.trim().split(/ +/)[0])).toEqual(['Invite', 'link']);
    expect((await ann.run(['party', 'invite'])).err).toContain('other machines cannot reach');
  });

  test('members --watch is present, and prints joins, presence, changes and removals as they happen (C12)', async () => {
    const { ann, ben, cleo } = scene;
    await scene.party([ben, 'Ben']);
    const watch = ann.start(['party', 'members', '--watch', '--json']);
    await sees(watch, 'server');
    const benWatches = ben.start(['party', 'members', 'camp', '--watch', '--json']);
    await sees(watch, 'online', 'Ben');
    // In the first list, or as news soon after it.
    const shown = () => [
      ...linesOf(benWatches).flatMap(({ members = [] }) => members),
      seen(benWatches, 'online', 'Ann')?.member,
    ];
    await expect.poll(shown, { interval: 5 }).toContainEqual(expect.objectContaining({ name: 'Ann', online: true }));
    const { code } = await told<{ code: string }>(ann, 'party', 'invite', '--json');
    await ok(cleo, 'party', 'join', code, '--server', scene.url, '--as', 'Cleo');
    await Promise.all([sees(watch, 'joined', 'Cleo'), sees(benWatches, 'joined', 'Cleo')]);
    await ok(ann, 'party', 'role', 'cleo', 'admin');
    expect((await sees(benWatches, 'role', 'Cleo')).member!.role).toBe('admin');
    await ok(cleo, 'party', 'rotate');
    await sees(watch, 'keys', 'Cleo');

    const removedAt = Date.now();
    await ok(ann, 'party', 'remove', 'Ben');
    const [gone, left] = await Promise.all([sees(watch, 'gone', 'Ben'), sees(benWatches, 'left')]);
    for (const { at } of [gone, left]) expect(Date.parse(at)).toBeGreaterThanOrEqual(removedAt);
    expect([await benWatches.code, benWatches.err.at(-1)]).toEqual([4, expect.stringContaining('removed from camp')]);
    expect((await ben.run(['party', 'members'])).err).toContain('in no party');
    // Commands that only ask took nobody's place.
    expect(linesOf(watch).filter(({ type }) => type === 'server')).toHaveLength(1);
    expect(await watch.stop()).toBe(130);
    expect(existsSync(ann.file('config/connected.lock'))).toBe(false);
  });

  test('members --watch --for ends at its time limit and prints text (C12)', async () => {
    await scene.party([scene.ben, 'Ben']);
    const out = await ok(scene.ann, 'party', 'members', '--watch', '--for', '0.4');
    expect(out[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}camp: 2 members$/);
    expect(out.join('\n')).toMatch(/connected to 127\.0\.0\.1:\d+/);
  });

  test('members are found by name, address or id; a forbidden change is refused with the reason (C12)', async () => {
    const { ann, ben, cleo } = scene;
    await scene.party([ben, 'Ben'], [cleo, 'ben']);
    const twice = await ann.run(['party', 'remove', 'BEN']);
    expect([twice.code, twice.err]).toEqual([2, expect.stringContaining('2 members match BEN')]);
    const { members } = await told<Members>(ann, 'party', 'members', '--json');
    const address = members.find(({ name }) => name === 'ben')!.virtualAddress;
    const denied = await ben.run(['party', 'remove', address]);
    expect([denied.code, denied.err]).toEqual([4, expect.stringContaining('may not remove')]);
    await ok(ann, 'party', 'remove', address);
    expect(await namesOf(ann)).toEqual(['Ann', 'Ben']);
    expect((await ann.run(['party', 'remove', 'Ann'])).err).toContain('towpath party leave');
    expect((await ann.run(['party', 'leave'])).err).toContain('appoint another one first');
    await ok(ann, 'party', 'role', 'Ben', 'founder');
    expect((await ok(ann, 'party', 'leave', 'camp'))[0]).toBe('This node has left camp.');
    expect(await namesOf(ben)).toEqual(['Ben']);
    expect((await ann.run(['party', 'list'])).err).toContain('in no party');
  });

  test('several parties are distinguished by name and listed (C12)', async () => {
    const { ann } = scene;
    await scene.party();
    await ok(ann, 'party', 'create', 'boat');
    const which = await ann.run(['party', 'members']);
    expect([which.code, which.err]).toEqual([2, expect.stringContaining('Several parties match: boat (')]);
    expect((await ok(ann, 'party', 'members', 'BOAT'))[0]).toBe('boat: 1 member');
    const out = await ok(ann, 'party', 'list');
    expect(out.map((line) => line.split(/ +/).slice(0, 2))).toEqual([
      ['NAME', 'ROLE'],
      ['boat', 'founder'],
      ['camp', 'founder'],
    ]);
    await ok(ann, 'party', 'rotate');
    const rotated = await Promise.all(
      ['boat', 'camp'].map((name) =>
        told<Members & { members: { rotations: number }[] }>(ann, 'party', 'members', name, '--json'),
      ),
    );
    expect(rotated.map(({ members }) => members[0]!.rotations)).toEqual([1, 1]);
  });

  test('parties of one name are said, and told apart by their ids (C12, C13)', async () => {
    const { ann } = scene;
    await scene.party();
    const second = await ann.run(['party', 'create', 'Camp', '--as', 'Ann']);
    expect([second.code, second.err]).toEqual([
      0,
      expect.stringMatching(
        /^Another party of this node is called Camp too: camp \(\w{8}\), Camp \(\w{8}\)\. Next: in commands, give the first characters of the id instead of the name\.$/m,
      ),
    ]);
    const which = await ann.run(['party', 'members', 'camp']);
    expect([which.code, which.err]).toEqual([
      2,
      expect.stringMatching(/Next: give the first characters of the id\.$/m),
    ]);
    const [, label] = await ok(ann, 'party', 'list');
    const [, id] = /^camp \((\w{8})\) /i.exec(label!)!;
    expect((await ok(ann, 'party', 'members', id!))[0]).toMatch(/^camp: 1 member$/i);
  });

  test('a party whose only member is its founder is forgotten on this machine, also without its servers; its key stays (C12)', async () => {
    const { ann, url } = scene;
    await scene.party();
    const refused = await ann.run(['party', 'leave']);
    const [, command] = /: towpath (party leave \w{8} --forget)$/m.exec(refused.err) ?? [];
    expect([refused.code, command]).toEqual([4, expect.any(String)]);
    await scene.stopServing();
    const [said, listed, kept] = await ok(ann, ...command!.split(' '));
    expect([said, listed]).toEqual([
      'camp is forgotten on this machine.',
      expect.stringContaining('still list this node'),
    ]);
    expect((await ann.run(['party', 'list'])).err).toContain('in no party');
    await scene.serve();
    const [, key] = /^The party key stays in (\S+);/.exec(kept!)!;
    expect(await ok(ann, 'party', 'recover', key!, '--server', url)).toContainEqual(
      expect.stringMatching(/^This node is now the founder of camp/),
    );
  });

  test('every command on one party takes its name as an option too (G4)', async () => {
    const { ann, url } = scene;
    await scene.party();
    await ok(ann, 'party', 'create', 'boat');
    for (const command of ['invite', 'invites', 'members', 'servers']) {
      expect(await told(ann, 'party', command, '--party', 'boat', '--json')).toMatchObject({ party: { name: 'boat' } });
      expect(await told(ann, 'party', command, 'boat', '--party', 'boat', '--json')).toBeDefined();
      const both = await ann.run(['party', command, 'camp', '--party', 'boat']);
      expect([both.code, both.err]).toEqual([2, expect.stringContaining('Two parties were given: camp and boat')]);
    }
    expect(await told(ann, 'party', 'servers', '--party', 'camp', '--json')).toMatchObject({ servers: [url] });
    const leave = await ann.run(['party', 'leave', '--party', 'nowhere']);
    expect([leave.code, leave.err]).toEqual([2, expect.stringContaining('not in a party nowhere')]);
  });

  test('without a server, the last verified list is shown as such; an interrupted rotation can be continued (C12)', async () => {
    const { ann, ben } = scene;
    await scene.party([ben, 'Ben']);
    await namesOf(ann);
    await scene.stopServing();
    const { out, err, code } = await ann.run(['party', 'members', '--json']);
    expect([code, JSON.parse(out[0]!)]).toMatchObject([
      0,
      { fresh: false, members: [{ name: 'Ann' }, { name: 'Ben' }] },
    ]);
    expect(err).toContain('This is the last verified list');
    expect((await ann.run(['party', 'remove', 'Ben'])).code).toBe(3);
    expect((await ann.run(['party', 'rotate'])).code).toBe(3);
    expect((await ann.run(['party', 'list'])).err).toContain('cannot be reached');
    await scene.serve();
    expect(await namesOf(ann)).toEqual(['Ann', 'Ben']);
    const next = readFileSync(ann.file('config/node-next.json'), 'utf8');
    await ok(ann, 'party', 'rotate');
    expect(readFileSync(ann.file('config/node.json'), 'utf8')).toBe(next);
    expect(existsSync(ann.file('config/node-next.json'))).toBe(false);
    expect(await namesOf(ann)).toEqual(['Ann', 'Ben']);
  });

  test('every command refuses a member that was inserted into the server’s store, with exit code 6 (C12)', async () => {
    const { ann, ben, cleo } = scene;
    await scene.party([ben, 'Ben']);
    const { code: invite } = await told<{ code: string }>(ann, 'party', 'invite', '--json');
    await namesOf(ben);
    await scene.stopServing();
    // A join that is Ben's but for its keys and name, with the signatures of his.
    using database = new DatabaseSync(scene.database);
    const rows = database.prepare('SELECT party, sequence, statement FROM statements ORDER BY sequence').all();
    const last = rows.at(-1)!;
    const forged = new Uint8Array(last.statement as Uint8Array);
    forged[forged.length - 1]! ^= 1;
    database
      .prepare('INSERT INTO statements (party, sequence, statement) VALUES (?, ?, ?)')
      .run(last.party!, Number(last.sequence) + 1, forged);
    await scene.serve();
    for (const commandLine of [ann, ben]) {
      const { code, out, err } = await commandLine.run(['party', 'members', '--json']);
      expect([code, JSON.parse(out.at(-1)!)]).toMatchObject([6, { error: { code: 'membership-forged' } }]);
      expect(err).toMatch(/camp: .*Verification of the control server's data failed; none of it was applied/);
      expect(JSON.parse(out[0]!)).toMatchObject({ fresh: false, members: [{ self: true }, { self: false }] });
    }
    for (const args of [['invite'], ['remove', 'Ben'], ['leave'], ['rotate'], ['list']]) {
      expect([args, (await ann.run(['party', ...args])).code]).toEqual([args, 6]);
    }
    const joining = await cleo.run(['party', 'join', invite, '--server', scene.url, '--json']);
    expect([joining.code, JSON.parse(joining.out[0]!)]).toMatchObject([6, { error: { code: 'untrusted-log' } }]);
    const watch = ben.start(['party', 'members', '--watch', '--json', '--for', '0.5']);
    expect(await sees(watch, 'suspicion')).toMatchObject({ kind: 'forged' });
    expect(await watch.code).toBe(6);
  });

  test('a rolled back server is reported with exit code 6 and receives its missing statements (C12)', async () => {
    const { ann, ben } = scene;
    await scene.party();
    await ok(scene.server, 'serve', 'backup', scene.server.file('old.db'));
    const { code } = await told<{ code: string }>(ann, 'party', 'invite', '--json');
    await ok(ben, 'party', 'join', code, '--server', scene.url, '--as', 'Ben');
    await namesOf(ann);
    await scene.stopServing();
    writeFileSync(scene.database, readFileSync(scene.server.file('old.db')));
    await scene.serve();
    const back = await ann.run(['party', 'members', '--json']);
    expect([back.code, JSON.parse(back.out.at(-1)!).error.code]).toEqual([6, 'membership-rollback']);
    expect(back.err).toContain('its data is old, or it withholds statements');
    expect(await namesOf(ann)).toEqual(['Ann', 'Ben']);
    expect((await namesOf(ben)).sort()).toEqual(['Ann', 'Ben']);
  });

  test.each([
    [['create', 'camp'], 2, '--server'],
    [['create', 'camp', '--server', 'ftp://x'], 2, 'is not a control server'],
    [['create', 'camp', '--server', '127.0.0.1:1'], 3, 'cannot be reached'],
    [['join', 'K7QP'], 2, 'neither an invite code'],
    [['create', ' ', '--server', '127.0.0.1:1'], 2, 'Expected a name'],
    [['create', 'camp', '--as', 'a\u001b[2J', '--server', '127.0.0.1:1'], 2, 'Expected a name'],
    [['join', 'K7QP', '--as', 'x'.repeat(65)], 2, 'Expected a name'],
    [['join', 'K7QP-2MXA-9RTC-W3HE'], 2, '--server'],
    [['join', 'towpath://join/AAAA'], 2, 'a part of it is missing'],
    [['members'], 2, 'towpath party create'],
    [['role', 'Ben', 'king'], 2, 'member, admin or founder'],
    [['invite', '--role', 'king'], 2, 'member or admin'],
    [['invite', '--qr', 'loud'], 2, 'dark, light or none'],
    [['invite', '--uses', '0'], 2, 'whole number'],
  ])('reports the error of %j', async (args, code, text) => {
    const outcome = await scene.ann.run(['party', ...args]);
    expect([outcome.code, outcome.err]).toEqual([code, expect.stringContaining(text)]);
  });

  test('new servers are contacted before they are saved (C12)', async () => {
    const { ann } = scene;
    await scene.party();
    const moved = scene.url.replace('127.0.0.1', 'localhost');
    expect((await ann.run(['party', 'servers', '--server', '127.0.0.1:1'])).code).toBe(3);
    expect(await ok(ann, 'party', 'servers', '--server', moved)).toEqual([`camp: ${moved}`]);
    expect(await told(ann, 'party', 'servers', '--json')).toMatchObject({ servers: [moved] });
    writeFileSync(join(ann.file('config'), 'servers.json'), '{"version":1', { mode: 0o600 });
    expect((await ann.run(['party', 'create', 'boat'])).code).toBe(5);
  });
});

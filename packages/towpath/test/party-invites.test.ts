import { copyFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { formatEndpoint } from '@towpath/net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localTime } from '../src/commands/party/local-time.ts';
import { CommandLine, type Running } from './command-line.ts';

describe('a server that is not open', () => {
  const [server, ann, ben] = [() => desks[0]!, () => desks[1]!, () => desks[2]!];
  let desks: CommandLine[] = [];
  let running: Running;
  let url = '';

  const serve = async (...more: string[]) => {
    running = server().start(['serve', '--port', '0', '--no-builtin-relay', '--json', ...more]);
    const [control] = await running.listening('control');
    url = `http://${formatEndpoint(control!)}`;
  };
  const ok = async (commandLine: CommandLine, args: string[], input?: string) => {
    const { code, out, err } = await commandLine.run(args, {}, input);
    expect([args, code, err]).toEqual([args, 0, expect.any(String)]);
    return out;
  };
  const setupCodes = () =>
    running.out.map((line) => JSON.parse(line)).filter(({ type }) => type === 'setup-code') as { code: string }[];
  const createParty = async () => {
    await expect.poll(setupCodes, { timeout: 30_000 }).toHaveLength(1);
    return ok(
      ann(),
      ['party', 'create', 'camp', '--server', url, '--as', 'Ann', '--setup-code', '-'],
      setupCodes()[0]!.code,
    );
  };

  beforeEach(async () => {
    desks = [new CommandLine(), new CommandLine(), new CommandLine()];
    await serve();
  });
  afterEach(async () => {
    await running.stop();
    for (const commandLine of desks) commandLine[Symbol.dispose]();
  });

  test('prints a setup code once, which is needed for the first party and read from standard input (A3, B7)', async () => {
    const refused = await ben().run(['party', 'create', 'mine', '--server', url]);
    expect(refused).toMatchObject({ code: 4, err: expect.stringContaining('towpath serve setup-code') });
    expect((await createParty()).join(' ')).toMatch(/does not carry packets|towpath up/);
    await running.stop();
    await serve();
    expect(await ben().run(['party', 'create', 'mine', '--server', url])).toMatchObject({ code: 4 });
    expect(setupCodes()).toEqual([]);
    const [code] = await ok(server(), ['serve', 'setup-code']);
    await ok(ben(), ['party', 'create', 'mine', '--server', url, '--setup-code', '-'], code);
  });

  test('invites are joined from standard input, listed, and revoked; those that are over open nothing (B3, B7, G4)', async () => {
    const nothing = await ben().run(['party', 'join', '--server', url]);
    expect(nothing).toMatchObject({
      code: 2,
      err: expect.stringContaining('no terminal to ask on. Next: write it to a file'),
    });
    await createParty();
    const { code } = JSON.parse((await ok(ann(), ['party', 'invite', '--json'])).at(-1)!) as { code: string };
    const joined = await ok(ben(), ['party', 'join', '--server', url, '--as', 'Ben'], code);
    expect(joined.at(-1)).toMatch(/^No packets flow between members yet\. Next, on each of them: towpath up$/);
    expect(await server().run(['party', 'join', code, '--server', url])).toMatchObject({
      code: 4,
      err: expect.stringContaining('This invite has already been used. Next: ask for a new one.'),
    });
    const again = (...more: string[]) => ok(ben(), ['party', 'join', '--server', url, ...more], code.toLowerCase());
    expect(await again()).toEqual(['This node is already a member of camp, as Ben.']);
    const told = JSON.parse((await again('--json')).at(-1)!);
    expect(told).toMatchObject({ type: 'joined', party: { name: 'camp' }, member: { name: 'Ben' }, members: 2 });
    await ok(ann(), ['party', 'invite', '--uses', '3', '--hours', '1']);
    const list = async () =>
      (
        JSON.parse((await ok(ann(), ['party', 'invites', '--json'])).at(-1)!) as {
          invites: { id: string; state: string }[];
        }
      ).invites;
    const invites = await list();
    expect(invites.map(({ state }) => state)).toEqual(['used up', 'open']);
    const lines = await ok(ann(), ['party', 'invites']);
    expect(lines.at(-1)).toMatch(/open +member +0 of 3 +\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d\d:\d\d +Ann/);
    await ok(ann(), ['party', 'revoke', invites[1]!.id.slice(0, 8)]);
    expect(await list()).toMatchObject([{ state: 'used up' }]);
    expect(await ann().run(['party', 'revoke', 'nothing'])).toMatchObject({ code: 2 });
    expect(await ann().run(['party', 'revoke'])).toMatchObject({ code: 2 });
    expect(await ben().run(['party', 'join', '--server', url], {}, '')).toMatchObject({ code: 2 });
  });

  test('a name that another member has is warned of with the host name that is reached; a code is joined with again after leaving', async () => {
    await createParty();
    const invited = await ok(ann(), ['party', 'invite', '--uses', '6', '--json']);
    const { code } = JSON.parse(invited.at(-1)!) as { code: string };
    const join = (name: string) => ben().run(['party', 'join', code, '--server', url, '--as', name, '--json']);
    const { out, err } = await join('ann');
    const { id } = (JSON.parse(out.at(-1)!) as { member: { id: string } }).member;
    expect(err).toContain(
      `Another member is called ann too: this node is reached as ann-${id.slice(0, 6)}.camp.internal. Next, for a name of its own: towpath party leave, then join with a new invite and --as NAME`,
    );
    await ok(ben(), ['party', 'leave']);
    // What the configuration says of the party's names holds in the warning too, and one that is damaged hinders nobody.
    for (const [config, zone] of [
      ['parties: [{ party: Camp, domain: lan.example }]', 'camp.lan.example'],
      ['parties: [{ party: camp, domain: "" }]', 'camp'],
      ['parties: {', 'camp.internal'],
    ] as const) {
      writeFileSync(ben().file('config/config.yaml'), config, { mode: 0o600 });
      const again = await join('ann');
      expect([again.code, again.err]).toEqual([
        0,
        expect.stringMatching(new RegExp(`this node is reached as ann-[0-9a-f]{6}\\.${zone}\\. Next`)),
      ]);
      await ok(ben(), ['party', 'leave']);
    }
    rmSync(ben().file('config/config.yaml'));
    const other = await join('Ben');
    expect([other.code, other.err, JSON.parse(other.out.at(-1)!)]).toEqual([
      0,
      '',
      expect.objectContaining({ type: 'joined', member: expect.objectContaining({ name: 'Ben' }) }),
    ]);
  });

  test('a party is recovered with its key file by another node (B4)', async () => {
    await createParty();
    const folder = ann().file('config/parties');
    const [id] = readdirSync(folder);
    const copy = ben().file('camp.key');
    copyFileSync(`${folder}/${id}/${id}.key`, copy);
    await ok(ben(), ['party', 'recover', copy, '--server', url, '--as', 'Ben']);
    expect((await ok(ben(), ['party', 'members'])).join('\n')).toMatch(/Ben +founder/);
    await ok(ben(), ['party', 'remove', 'Ann']);
    expect(await ben().run(['party', 'recover', ben().file('none'), '--server', url])).toMatchObject({ code: 5 });
  });
});

test('times for people are in the zone of the machine', () => {
  expect(localTime(Date.UTC(2026, 4, 1, 12, 3))).toMatch(/^2026-0[45]-\d\d \d\d:\d3 [+-]\d\d:\d\d$/);
  expect(localTime(Number.NaN)).toBe('unknown');
});

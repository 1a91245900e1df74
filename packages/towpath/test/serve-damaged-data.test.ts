import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

const RESTORE = /Next: put a backup in its place, or move it and its -wal and -shm away/;

describe('damaged files in the data folder of a server', () => {
  let commandLine: CommandLine;
  const inData = (name: string) => commandLine.file(`data/${name}`);
  const run = (...command: string[]) => commandLine.run(['serve', ...command, '--data', commandLine.file('data')]);
  const serve = () => run('--port', '0', '--stun-port', '0', '--data-plane', 'user', '--for', '0.1');
  const COMMANDS = ['serve', 'setup-code', 'backup'] as const;
  const runs = {
    serve,
    'setup-code': () => run('setup-code'),
    backup: () => run('backup', commandLine.file('copy.db')),
  };

  beforeEach(() => {
    commandLine = new CommandLine();
    mkdirSync(commandLine.file('data'), { mode: 0o700 });
  });
  afterEach(() => commandLine[Symbol.dispose]());

  function inPlaceOf(name: string, what: 'folder' | 'FIFO') {
    if (what === 'folder') mkdirSync(inData(name));
    else spawnSync('mkfifo', [inData(name)]);
  }

  test.each(
    COMMANDS.flatMap((command) =>
      ['control.db', 'control.db-wal', 'control.db-shm'].flatMap((name) =>
        (['folder', 'FIFO'] as const).map((what) => [command, name, what] as const),
      ),
    ),
  )('%s refuses %s that is a %s, and waits for nobody', async (command, name, what) => {
    inPlaceOf(name, what);
    if (name !== 'control.db') writeFileSync(inData('control.db'), '');
    const { code, err } = await runs[command]();
    expect([code, err]).toEqual([5, `towpath: ${inData(name)} is not a file. Next: move it away.`]);
  });

  test.each(COMMANDS)(
    '%s refuses a database that was cut off, says what to do, and leaves it as it is',
    async (command) => {
      expect((await serve()).code).toBe(0);
      truncateSync(inData('control.db'), 9_000);
      const before = readFileSync(inData('control.db'));
      const { code, err } = await runs[command]();
      expect([code, err]).toEqual([5, expect.stringMatching(RESTORE)]);
      expect(readFileSync(inData('control.db'))).toEqual(before);
    },
  );

  test.each([
    ['text', () => writeFileSync(inData('control.db'), 'x'.repeat(5_000))],
    ['tables of another program', () => withDatabase('CREATE TABLE statements (a)')],
    ['a version before the first', () => withDatabase('CREATE TABLE records (a); PRAGMA user_version = -5')],
  ])('a database with %s is refused with what to do', async (_, damage) => {
    damage();
    const { code, err } = await serve();
    expect([code, err]).toEqual([5, expect.stringMatching(RESTORE)]);
  });

  function withDatabase(sql: string) {
    using database = new DatabaseSync(inData('control.db'));
    database.exec(sql);
  }

  test('a database that is empty is said to be, since a new server has none', async () => {
    const empty = `The database ${inData('control.db')} is empty: this server begins anew. Next: if it had parties, end it`;
    expect((await serve()).err).not.toContain('is empty');
    truncateSync(inData('control.db'));
    for (const more of ['-wal', '-shm']) rmSync(inData(`control.db${more}`), { force: true });
    expect((await serve()).err).toContain(empty);
  });

  test('a folder in place of the lock, and an empty secret, are refused with what works', async () => {
    mkdirSync(inData('serve.lock'));
    expect(await serve()).toMatchObject({
      code: 5,
      err: expect.stringContaining('it is a folder. Next: move it away'),
    });
    for (const name of ['setup-code', 'backup'] as const) {
      expect(await runs[name]()).toMatchObject({ code: 5, err: expect.stringContaining('does not exist. Next: give') });
    }
    commandLine[Symbol.dispose]();
    commandLine = new CommandLine();
    mkdirSync(commandLine.file('data'), { mode: 0o700 });
    writeFileSync(inData('turn.secret'), '', { mode: 0o600 });
    const { code, err } = await serve();
    expect([code, err]).toEqual([2, expect.stringContaining(`--create-secret --secret-file ${inData('turn.secret')}`)]);
    expect(statSync(inData('turn.secret')).size).toBe(0);
  });
});

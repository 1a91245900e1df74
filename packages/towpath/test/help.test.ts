import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { COMMAND_GROUPS } from '../src/cli/command-groups.ts';
import { ExitCode } from '../src/cli/exit-code.ts';
import { createProgram } from '../src/cli/program.ts';
import { sources } from '../../core/test/tree.ts';
import { idleRuntime, testIo } from './test-io.ts';

const runtime = idleRuntime();

function program(args?: readonly string[]): Promise<Command> {
  return createProgram(runtime, args);
}

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

const all = await program();

describe('help', () => {
  const commands = leaves(all);

  test('there are commands', () => {
    expect(commands.length).toBeGreaterThan(12);
  });

  test.each(commands.map((command) => [path(command), command] as const))(
    '%s explains itself with an example and takes --json',
    (name, command) => {
      let text = '';
      command.configureOutput({ writeOut: (part) => (text += part) });
      command.outputHelp();
      expect(text).toMatch(/Examples?:\n {2}towpath/);
      expect(text).toContain(`towpath ${name}`);
      expect(command.options.some(({ long }) => long === '--json')).toBe(true);
      expect(command.description()).not.toBe('');
      // One form for defaults: a colon, and the value.
      expect(text.replace(/\s+/g, ' ')).not.toMatch(/\(default [^:]/);
    },
  );

  test.each(['connect', 'info', 'media', 'download', 'watch', 'live'])(
    'camera %s has at most ten options first, and how to reach the camera apart from them (G6)',
    (name) => {
      const command = commands.find((each) => path(each) === `camera ${name}`)!;
      const first = command.options.filter(({ helpGroupHeading }) => helpGroupHeading === undefined);
      // Besides --help, which Commander adds.
      expect(first.length).toBeLessThanOrEqual(9);
      const transport = command.options.filter(({ helpGroupHeading }) => helpGroupHeading === 'Transport options:');
      expect(transport.map(({ long }) => long)).toEqual(expect.arrayContaining(['--ports', '--servers', '--key']));
    },
  );

  test.each([80, 40])('is at most %i columns wide, but for command lines to copy, which fit 80', async (columns) => {
    const lines: string[] = [];
    const io = { ...testIo(), columns, out: (text: string) => void lines.push(...text.split('\n')) };
    const narrow = await createProgram({ ...runtime, io });
    const every = (command: Command): Command[] => [command, ...command.commands.flatMap(every)];
    for (const command of every(narrow)) command.outputHelp();
    expect(lines.length).toBeGreaterThan(500);
    const isExample = (line: string) => /^ {2}.*\btowpath [a-z]|^ {6}--/.test(line);
    expect(lines.filter((line) => line.length > (isExample(line) ? 80 : columns))).toEqual([]);
  });

  test('no secret is needed on a command line: files, standard input or a question take it (B7)', () => {
    const OPTION = /password|secret|setup-code/;
    const found = new Set<string>();
    for (const command of commands) {
      for (const { long, flags, description, mandatory } of command.options) {
        const takesValue = /[<[]/.test(flags);
        if (!takesValue || !OPTION.test(long ?? '')) continue;
        found.add(long!);
        const isFile = flags.includes('<file>');
        const isRead = !mandatory && /- reads it from standard input/.test(description);
        expect([path(command), flags, isFile || isRead]).toEqual([path(command), flags, true]);
      }
      for (const argument of command.registeredArguments) {
        // Those of `revoke` name an invite by its id, which is no secret.
        if (!/invite|code|link|secret/.test(argument.name()) || /id/.test(argument.description)) continue;
        found.add(argument.name());
        expect([path(command), argument.required]).toEqual([path(command), false]);
        expect(argument.description).toMatch(/asked for or read from standard input/);
      }
    }
    expect([...found]).toEqual(expect.arrayContaining(['--setup-code', '--secret-file', '--password-file', 'invite']));
  });

  test('what is printed line by line is called JSON Lines, and nothing else (G3)', () => {
    const said = commands.map((command) => command.options.find(({ long }) => long === '--json')!.description);
    expect(said.filter((text) => /json lines/i.test(text) && !text.includes('JSON Lines'))).toEqual([]);
    for (const name of ['party members', 'party list', 'paths', 'logs', 'up', 'pppp serve', 'camera stats']) {
      const command = commands.find((each) => path(each) === name)!;
      expect([name, command.options.find(({ long }) => long === '--json')!.description]).toEqual([
        name,
        'JSON Lines on standard output',
      ]);
    }
  });

  test('every command line in the help and in hints is one that exists, with its options (G1)', () => {
    const hints = sources
      .filter(({ file }) => file.startsWith('packages/'))
      .flatMap(({ text }) => [...text.matchAll(/Next: [^'"`]*/g)].flatMap(([hint]) => linesIn(hint)));
    const examples = commands.flatMap((command) => {
      let text = '';
      command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
      return text
        .replace(/ \\\n\s*/g, ' ')
        .split('\n')
        .filter((line) => /^ {2}\S/.test(line))
        .flatMap(linesIn);
    });
    expect([hints.length > 25, examples.length > 100]).toEqual([true, true]);
    expect([...hints, ...examples].filter((line) => !exists(all, line.split(/\s+/)))).toEqual([]);
    expect(exists(all, ['party', 'invites', '--no-such'])).toBe(false);
    expect(exists(all, ['party', 'invitations'])).toBe(false);
  });

  test('the exit codes are documented', () => {
    let text = '';
    all.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
    expect(text).toContain('Exit codes:');
    const section = text.slice(text.indexOf('Exit codes:'), text.indexOf('Examples:'));
    for (const code of Object.values(ExitCode)) expect(section).toMatch(new RegExp(`\\b${code}\\b`));
    expect(section).toMatch(/130 +interrupted/);
  });

  test.each([[['--help']], [['camera', '--help']], [['help', 'relay']]])(
    'loads only the group that %j names, and the list of commands is the same',
    async (args) => {
      const partial = await program(args);
      const summary = (command: Command) => command.commands.map((child) => [child.name(), child.description()]);
      expect(summary(partial)).toEqual(summary(all));
      const loaded = partial.commands.filter((command) => command.options.length + command.commands.length > 0);
      expect(loaded.map((command) => command.name())).toEqual(args.filter((arg) => arg !== '--help' && arg !== 'help'));
    },
  );

  test('each group registers exactly one command, of its own name', async () => {
    for (const { name, load } of COMMAND_GROUPS) {
      const alone = new Command();
      (await load())(alone, runtime, async () => alone);
      expect(alone.commands.map((command) => command.name())).toEqual([name]);
    }
  });
});

/** What follows `towpath` on command lines within a text. */
function linesIn(text: string): string[] {
  return [...text.matchAll(/\btowpath ((?:[^.,;:|()<]|[.,:](?=\S))+)/g)].map(([, line]) => line!.trim());
}

/** Whether the words of a command line name a command and options that it has. */
function exists(at: Command, [word = '', ...rest]: readonly string[]): boolean {
  if (at.commands.length > 0 && word !== '' && !word.startsWith('-')) {
    const next = at.commands.find((command) => command.name() === word);
    return next !== undefined && exists(next, rest);
  }
  return [word, ...rest].every(
    (each) =>
      !/^--?[a-z]/.test(each) ||
      each === '--help' ||
      at.options.some(({ long, short }) => long === each || short === each),
  );
}

function path(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

import { SeededRandom, silentLog, VirtualClock } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { createProgram } from '../src/cli/program.ts';

function program(): Command {
  return createProgram({
    io: {
      out: () => {},
      err: () => {},
      draw: () => {},
      write: async () => {},
      interactive: false,
      columns: 80,
      style: (_style, text) => text,
      env: {},
    },
    clock: new VirtualClock(),
    random: new SeededRandom(1),
    network: new NodeNetwork(),
    log: silentLog,
    signal: new AbortController().signal,
    configFolder: '/nowhere',
  });
}

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

describe('help', () => {
  const commands = leaves(program());

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
    },
  );

  test('the exit codes are documented', () => {
    let text = '';
    program()
      .configureOutput({ writeOut: (part) => (text += part) })
      .outputHelp();
    expect(text).toContain('Exit codes:');
    expect(text).toContain('130 interrupted');
  });
});

function path(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

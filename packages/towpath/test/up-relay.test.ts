import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

describe('towpath up --relay', () => {
  let commandLine: CommandLine;
  beforeEach(() => {
    commandLine = new CommandLine();
  });
  afterEach(() => commandLine[Symbol.dispose]());

  test('is described in the help, with its limits and their defaults (C9, D6)', async () => {
    const { out } = await commandLine.run(['up', '--help']);
    const help = out.join('\n').replaceAll(/\s+/g, ' ');
    for (const option of ['--relay ', '--relay-port ', '--relay-ports ', '--relay-address ', '--relay-allow-peer ']) {
      expect(help).toContain(option);
    }
    expect(help).toMatch(/--relay-sessions .*\(default: 128\)/);
    expect(help).toMatch(/--relay-rate .*kilobytes .*\(default: 5000\)/);
    expect(help).toContain('for the members of the party and for nobody else');
  });

  function config(relay: string): void {
    mkdirSync(commandLine.file('config'), { recursive: true });
    writeFileSync(join(commandLine.file('config'), 'config.yaml'), `parties:\n  - party: camp\n    relay: ${relay}\n`);
  }

  test.each(['true', 'false', '{ port: 3478, ports: 49152-65535, address: 198.51.100.7, rate: 2000, sessions: 32 }'])(
    'can be written into the configuration: %s (C9)',
    async (relay) => {
      config(relay);
      const { err } = await commandLine.run(['config', 'check']);
      expect(err).not.toContain('relay');
    },
  );

  test.each([
    ['{ port: 0 }', 'port'],
    ['{ sessions: -1 }', 'sessions'],
    ['{ ports: many }', 'must be a range'],
    ['{ speed: 9 }', 'speed'],
  ])('refuses %s', async (relay, said) => {
    config(relay);
    const { code, out, err } = await commandLine.run(['config', 'check']);
    expect(code).toBe(5);
    expect(out.join('\n') + err).toContain(said);
  });
});

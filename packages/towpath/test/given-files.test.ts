import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MediaLibrary } from '@towpath/camera';
import { SystemClock } from '@towpath/core';
import { NodeNames } from '../../net/src/node/node-names.ts';
import { readStateFile } from '../../mesh/src/state/state-file.ts';
import { describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

/** A FIFO that nobody writes to: whoever opens it as a file waits for ever. */
function fifo(commandLine: CommandLine, name: string): string {
  const path = commandLine.file(name);
  spawnSync('mkfifo', ['-m', '600', path]);
  return path;
}

const relayWithTls = (certificate: string, key: string): string[] => [
  ...['relay', 'serve', '--port', '0', '--secret-file', 'SECRET'],
  ...['--tls-port', '0', '--tls-cert', certificate, '--tls-key', key],
];

describe('a FIFO in place of a file that is named on the command line is refused, not waited for (G3)', () => {
  test.each([
    [['relay', 'credentials', 'ann', '--secret-file', 'FIFO']],
    [['relay', 'serve', '--port', '0', '--secret-file', 'FIFO']],
    [relayWithTls('FIFO', 'SECRET')],
    [relayWithTls('SECRET', 'FIFO')],
    [['serve', '--port', '0', '--data', 'DATA', '--tls-cert', 'FIFO', '--tls-key', 'SECRET']],
    [['serve', '--port', '0', '--data', 'DATA', '--turn-secret-file', 'FIFO']],
    [['netcheck', '--server', '127.0.0.1:1', '--ca', 'FIFO']],
    [['party', 'create', 'camp', '--server', 'https://127.0.0.1:1', '--ca', 'FIFO']],
    [['party', 'recover', 'FIFO', '--server', 'https://127.0.0.1:1']],
    [['camera', 'connect', '127.0.0.1', '--servers', '127.0.0.1', '--secret-file', 'FIFO']],
  ])('%j', async (args) => {
    using commandLine = new CommandLine();
    const secret = commandLine.file('secret');
    writeFileSync(secret, 'a secret of more than sixteen characters\n', { mode: 0o600 });
    const places: Record<string, string> = {
      FIFO: fifo(commandLine, 'fifo'),
      SECRET: secret,
      DATA: commandLine.file('data'),
    };
    const { code, err } = await commandLine.run(args.map((arg) => places[arg] ?? arg));
    expect([code, err]).toEqual([5, expect.stringContaining('is not a file. Next: name a file.')]);
  });
});

describe('a file without certificates in place of those of an authority is refused before anything is connected to', () => {
  const NO_CERTIFICATE = 'has no certificate in PEM';
  test.each([
    [['netcheck', '--server', '127.0.0.1:1', '--ca', 'FILE'], 'text', NO_CERTIFICATE],
    [['party', 'create', 'camp', '--server', 'https://127.0.0.1:1', '--ca', 'FILE'], 'text', NO_CERTIFICATE],
    [
      ['netcheck', '--server', '127.0.0.1:1', '--ca', 'FILE'],
      '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
      'Certificate 1 in FILE is damaged. Next: copy the file again.',
    ],
  ])('%j', async (args, content, text) => {
    using commandLine = new CommandLine();
    const file = commandLine.file('authority');
    writeFileSync(file, content);
    const { code, err } = await commandLine.run(args.map((arg) => (arg === 'FILE' ? file : arg)));
    expect([code, err.replaceAll(file, 'FILE')]).toEqual([2, expect.stringContaining(text)]);
  });
});

describe('and in place of a file that the program keeps (G3)', () => {
  test('the index of a folder of pictures', async () => {
    using commandLine = new CommandLine();
    const folder = commandLine.file('pictures');
    mkdirSync(folder);
    fifo(commandLine, join('pictures', 'index.json'));
    await expect(MediaLibrary.open({}, { folder })).rejects.toMatchObject({
      code: 'disk-failed',
      message: expect.stringContaining('is not a file'),
    });
  });

  test('the state of the mesh', () => {
    using commandLine = new CommandLine();
    const path = fifo(commandLine, 'state');
    expect(() => readStateFile(path)).toThrow(
      expect.objectContaining({ code: 'disk-failed', message: expect.stringContaining('is not a file') }),
    );
  });

  test('the hosts file, without which the name servers decide', async () => {
    using commandLine = new CommandLine();
    const hostsFile = fifo(commandLine, 'hosts');
    const names = new NodeNames({ clock: new SystemClock() }, { hostsFile, servers: ['127.0.0.1:1'] });
    expect(await names.resolve('127.0.0.1')).toEqual(['127.0.0.1']);
    await expect(names.resolve('no-such-name.invalid', { signal: AbortSignal.timeout(5_000) })).rejects.toThrow();
  });
});

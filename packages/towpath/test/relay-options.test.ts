import { generateKeyPairSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readTlsFiles } from '../src/config/tls-files.ts';
import { CommandLine } from './command-line.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../../control/test/fixtures/${name}`, import.meta.url));
const CERT = fixture('loopback-cert.pem');

let commandLine: CommandLine;
beforeEach(() => {
  commandLine = new CommandLine();
});
afterEach(() => commandLine[Symbol.dispose]());

function file(name: string, content: string): string {
  const path = commandLine.file(name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

const newKey = (more: object = {}) =>
  generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', ...more },
  }).privateKey as unknown as string;

const SERVERS: Readonly<Record<string, () => string[]>> = {
  'relay serve': () => ['relay', 'serve', '--no-relay', '--tls-port', '0', '--port', '0', '--for', '0.1'],
  serve: () => [
    ...['serve', '--port', '0', '--stun-port', '0', '--stun-tls-port', '0', '--data-plane', 'user'],
    '--for',
    '0.1',
  ],
};

describe.each(Object.entries(SERVERS))('%s with a certificate that cannot serve', (_name, command) => {
  const run = (cert: string, key: string) => commandLine.run([...command(), '--tls-cert', cert, '--tls-key', key]);
  const ownKey = () => file('key.pem', readFileSync(fixture('loopback-key.pem'), 'utf8'));

  test.each([
    ['the key of another one', () => [CERT, file('other.pem', newKey())], 'is not the key of the first certificate in'],
    ['no certificate', () => [file('junk.pem', 'junk'), ownKey()], 'has no certificate in PEM'],
    [
      'a damaged one',
      () => [file('cut.pem', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'), ownKey()],
      'is damaged. Next: copy',
    ],
    ['no key', () => [CERT, file('junk.pem', 'junk')], 'has no private key in PEM'],
    [
      'an encrypted key',
      () => [CERT, file('locked.pem', newKey({ cipher: 'aes-128-cbc', passphrase: 'abcd' }))],
      'is encrypted. Next: write it without',
    ],
  ] as const)('%s: says which file and what to do', async (_what, files, text) => {
    const [cert, key] = files();
    const { code, err } = await run(cert!, key!);
    expect([code, err.replaceAll('\n', ' ')]).toEqual([5, expect.stringContaining(text)]);
  });
});

test('a certificate that has ended, or has not begun, is used and told', () => {
  const key = file('key.pem', readFileSync(fixture('loopback-key.pem'), 'utf8'));
  const toldAt = (time: string) => {
    const told: string[] = [];
    expect(readTlsFiles({ tlsCert: CERT, tlsKey: key }, Date.parse(time), (text) => told.push(text))).toBeDefined();
    return told;
  };
  expect(toldAt('2126-12-01')).toEqual([
    expect.stringMatching(/is valid until .* 2126 GMT: clients refuse it. Next: renew/),
  ]);
  expect(toldAt('2026-11-01')).toEqual([
    expect.stringMatching(/is valid from .* 2026 GMT: clients refuse it until then/),
  ]);
  expect(toldAt('2027-01-01')).toEqual([]);
});

describe('relay serve', () => {
  test.each([
    [['--address', '224.0.0.1'], 2, '224.0.0.1 is not the address of one machine'],
    [['--relay-address', '255.255.255.255'], 2, '255.255.255.255 is not the address of one machine'],
    [['--public-address', 'ff02::1'], 2, 'ff02::1 is not the address of one machine'],
    [['--relay-address', '127.0.0.1', '127.0.0.2'], 2, 'choose 127.0.0.1 or 127.0.0.2'],
    [['--public-address', '198.51.100.7', '198.51.100.8'], 2, 'choose 198.51.100.7 or 198.51.100.8'],
    [['--public-address', '2001:db8::7'], 2, 'No relay address is IPv6'],
    [['--relay-address', '192.0.2.99'], 5, 'This host does not have that address'],
    [['--address', '::1', '--relay-address', '2001:db8::99'], 5, 'This host does not have that address'],
  ])('refuses %j instead of starting without it', async (more, code, text) => {
    const secret = file('secret', 'a secret of more than sixteen characters');
    const args = ['relay', 'serve', '--port', '0', '--data-plane', 'user', '--for', '0.1', '--secret-file', secret];
    const outcome = await commandLine.run([...args, ...more]);
    expect([outcome.code, outcome.err.replaceAll('\n', ' ')]).toEqual([code, expect.stringContaining(text)]);
  });

  test('relays from addresses of both families', async () => {
    const secret = file('secret', 'a secret of more than sixteen characters');
    const args = ['relay', 'serve', '--port', '0', '--data-plane', 'user', '--for', '0.1', '--secret-file', secret];
    const { code, out } = await commandLine.run([...args, '--address', '127.0.0.1', '::1']);
    expect([code, out.join(' ')]).toEqual([0, expect.stringContaining('[::1]:')]);
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ControlClient, generateNodeIdentity, HttpTransport } from '@towpath/control';
import { errorCode } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { TurnAllocation } from '@towpath/stun';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandLine, components } from './command-line.ts';

const HERE = '127.0.0.1';
const TRANSPORTS = ['udp', 'tcp', 'tls'] as const;
/** Real processes on a busy machine; what is proven is the order of events. */
const TIMEOUT_MS = 60_000;
const fixture = (name: string) => fileURLToPath(new URL(`../../control/test/fixtures/${name}`, import.meta.url));
const CERT = fixture('loopback-cert.pem');

describe('an additional relay', { timeout: TIMEOUT_MS }, () => {
  let commandLine: CommandLine;
  let tls: string[];
  beforeEach(() => {
    commandLine = new CommandLine();
    writeFileSync(commandLine.file('key.pem'), readFileSync(fixture('loopback-key.pem')), { mode: 0o600 });
    tls = ['--tls-cert', CERT, '--tls-key', commandLine.file('key.pem')];
  });
  afterEach(() => commandLine[Symbol.dispose]());

  async function member(server: string): Promise<ControlClient> {
    return ControlClient.open({
      ...components,
      transport: new HttpTransport(components, {
        servers: [server],
        ...(server.startsWith('https') ? { ca: readFileSync(CERT, 'utf8') } : {}),
      }),
      identity: generateNodeIdentity(components.random),
    });
  }

  /** A member's allocation, which says when it is lost. */
  async function allocated(client: ControlClient, server: Endpoint, transport: (typeof TRANSPORTS)[number]) {
    const { username, credential } = await client.turnCredentials();
    const lost: string[] = [];
    const credentials = { username, password: credential };
    const handlers = { onData() {}, onLost: ({ code }: { code: string }) => void lost.push(code) };
    const ca = readFileSync(CERT, 'utf8');
    const init = { server, credentials, handlers, transport, tls: { ca, serverName: HERE } };
    const allocation = await TurnAllocation.connect(components, init);
    await allocation.permit([HERE]);
    return { lost, allocation, again: () => TurnAllocation.connect(components, init) };
  }

  test.each([
    ['over plain HTTP', 1, false],
    ['over HTTPS', 1, true],
    ['in two processes', 2, false],
  ])(
    'lets go of a removed member over UDP, TCP and TLS, and of nobody else: %s (A4)',
    async (_how, workers, secure) => {
      const secret = commandLine.file('turn.secret');
      const relay = ['relay', 'serve', '--port', '0', '--tls-port', '0', ...tls, '--secret-file', secret];
      writeFileSync(secret, 'a secret that is long enough\n', { mode: 0o600 });
      const serving = ['serve', '--port', '0', '--open', '--no-builtin-relay', '--turn-secret-file', secret, '--json'];
      const control = commandLine.start([...serving, ...(secure ? tls : [])]);
      const [at] = await control.listening('control');
      const url = `${secure ? 'https' : 'http'}://${formatEndpoint(at!)}`;
      const asking = ['--control', url, ...(secure ? ['--control-ca', CERT] : [])];
      const here = ['--allow-peer', '127.0.0.0/8', '--workers', String(workers), '--json'];
      const running = commandLine.start([...relay, ...asking, ...here]);
      const [udp] = await running.listening('udp');
      const [secured] = await running.listening('tls');
      await using ann = await member(url);
      await using ben = await member(url);
      const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
      const { self } = await ben.join(await ann.invite(id), { memberName: 'Ben' });
      const place = (transport: (typeof TRANSPORTS)[number]) => (transport === 'tls' ? secured! : udp!);
      const open = (client: ControlClient) =>
        Promise.all(TRANSPORTS.map((transport) => allocated(client, place(transport), transport)));
      const [anns, bens] = [await open(ann), await open(ben)];
      await ann.remove(id, self.id);
      await expect.poll(() => bens.map(({ lost }) => lost.length), { timeout: 40_000 }).toEqual([1, 1, 1]);
      // One who has lost an allocation asks anew, with the credentials that have not expired. Each process learns by itself.
      const outcome = (again: () => Promise<unknown>) => again().then(String, errorCode);
      for (const { again } of bens) await expect.poll(() => outcome(again)).toBe('stun-unauthenticated');
      expect(anns.map(({ lost, allocation }) => [lost, allocation.alive])).toEqual(anns.map(() => [[], true]));
      await Promise.all(anns.map(({ allocation }) => allocation.close()));
      await Promise.all([running.stop(), control.stop()]);
    },
  );

  test.each([
    ['no secret', ['--user', 'ann', '--control', HERE], 'needs --secret-file'],
    ['no relaying', ['--no-relay', '--control', HERE], 'needs --secret-file'],
    ['an authority, but no server', ['--control-ca', CERT], 'needs --control'],
    ['no URL', ['--control', 'ftp://x'], 'is not a control server'],
  ])('says what is wrong with %s', async (_what, args, message) => {
    const secret =
      args.includes('--user') || args.includes('--no-relay')
        ? []
        : ['--secret-file', commandLine.file('s'), '--create-secret'];
    const { code, err } = await commandLine.run(['relay', 'serve', '--port', '0', ...secret, ...args], {
      TOWPATH_RELAY_PASSWORD: 'a password',
    });
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });
});

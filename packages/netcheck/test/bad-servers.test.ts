import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { certificate } from '../../stun/test/support/certificate.ts';
import { checkTransport } from '../src/server-check.ts';

const HERE = '127.0.0.1';
const identity = certificate('relay.test');
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };

/** A listener whose connections are treated as told. */
async function listen(
  transport: 'tcp' | 'tls',
  behave: (socket: Socket) => void,
): Promise<{ port: number; server: Server }> {
  const onSocket = (socket: Socket) => {
    socket.on('error', () => {});
    behave(socket);
  };
  const server = transport === 'tcp' ? createServer(onSocket) : createTlsServer(identity, onSocket);
  await new Promise<void>((resolve) => {
    server.listen(0, HERE, resolve);
  });
  return { port: (server.address() as { port: number }).port, server };
}

const MISBEHAVIOUR: [string, (socket: Socket) => void][] = [
  ['answers with garbage', (socket) => void socket.once('data', () => socket.write(Buffer.alloc(64, 0xff)))],
  ['answers with HTTP', (socket) => void socket.once('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['hangs up at once', (socket) => void socket.destroy()],
  ['greets with garbage', (socket) => void socket.write(Buffer.alloc(4096, 0xee))],
];

describe.each(['tcp', 'tls'] as const)('a server over %s (A1)', { timeout: 30_000 }, (transport) => {
  test.each(MISBEHAVIOUR)('that %s is reported with an error, and the check ends', async (_what, behave) => {
    const { port, server } = await listen(transport, behave);
    const check = await checkTransport(
      components,
      { transport, family: 4, endpoint: { address: HERE, port } },
      {
        limitMs: 10_000,
        tls: { ca: identity.cert, serverName: 'relay.test' },
        signal: new AbortController().signal,
      },
    );
    expect(check.rttMs).toBeUndefined();
    expect(check.error?.message).toMatch(/./);
    server.close();
  });
});

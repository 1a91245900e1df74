import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { connect as connectTls } from 'node:tls';
import { join } from 'node:path';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { type Endpoint, NodeNetwork, type TcpConnection } from '../src/index.ts';
import { Mailbox, networkSuite, streamSuite, type World } from './network-suite.ts';

function loopback(): World {
  const network = new NodeNetwork();
  return {
    here: network,
    there: network,
    hereAddress: '127.0.0.1',
    thereAddress: '127.0.0.1',
    broadcastAddress: '127.255.255.255',
    run: (promise) => promise,
    [Symbol.asyncDispose]: async () => {},
  };
}

networkSuite('real', loopback);

describe('NodeNetwork', () => {
  test('lists the loopback interface with its prefix and no broadcast address', () => {
    const found = new NodeNetwork().interfaces().find(({ address }) => address === '127.0.0.1');
    expect(found).toMatchObject({ family: 4, prefixLength: 8, internal: true, broadcast: undefined });
  });

  test('connects to a host name', async () => {
    const network = new NodeNetwork();
    const accepted = new Mailbox<TcpConnection>();
    await using listener = await network.listenTcp({
      address: '127.0.0.1',
      onConnection: (connection) => {
        accepted.put(connection);
        return { onData: () => {} };
      },
    });
    const to = { address: 'localhost', port: listener.local.port };
    await using connection = await network.connectTcp(to, { onData: () => {} });
    expect(connection.remote.address).toBe('127.0.0.1');
    await accepted.until(1);
  });

  test('asks for the buffer sizes and keeps working', async () => {
    const inbox = new Mailbox<Uint8Array>();
    const errors: Error[] = [];
    await using socket = await new NodeNetwork().bindUdp({
      address: '127.0.0.1',
      receiveBufferBytes: 1 << 20,
      sendBufferBytes: 1 << 20,
      onMessage: inbox.put,
      onError: (error) => errors.push(error),
    });
    socket.send(new Uint8Array(60_000), socket.local);
    expect((await inbox.until(1))[0]).toHaveLength(60_000);
    expect(errors).toEqual([]);
  });

  test.runIf(process.platform === 'linux')(
    'shares a port among sockets that ask for it: every sender comes to one of them, always the same',
    async () => {
      const network = new NodeNetwork();
      const address = '127.0.0.1';
      const received: number[][] = [[], []];
      const bind = (at: number, port: number) =>
        network.bindUdp({
          address,
          port,
          reusePort: true,
          onMessage: (_data, from) => received[at]!.push(from.port),
        });
      await using first = await bind(0, 0);
      await using second = await bind(1, first.local.port);
      await expect(network.bindUdp({ ...second.local, onMessage() {} })).rejects.toMatchObject({
        code: 'address-in-use',
      });
      const senders = await Promise.all(Array.from({ length: 32 }, () => network.bindUdp({ address, onMessage() {} })));
      for (let round = 0; round < 3; round++) {
        for (const sender of senders) sender.send(new Uint8Array(1), first.local);
        await expect.poll(() => received.flat().length).toBe((round + 1) * senders.length);
      }
      const [left, right] = received.map((ports) => new Set(ports));
      expect([left!.size > 0, right!.size > 0, left!.isDisjointFrom(right!)]).toEqual([true, true, true]);
      await Promise.all(senders.map((sender) => sender.close()));
      const accepting = { address, reusePort: true, onConnection: () => ({ onData() {} }) };
      await using listener = await network.listenTcp(accepting);
      await using other = await network.listenTcp({ ...accepting, port: listener.local.port });
      expect(other.local).toEqual(listener.local);
    },
  );

  test('hears a multicast group that it joined', async () => {
    const network = new NodeNetwork();
    const inbox = new Mailbox<Uint8Array>();
    const group = '239.255.255.250';
    await using listener = await network.bindUdp({ multicastGroups: [group], onMessage: inbox.put });
    await using sender = await network.bindUdp({ address: '127.0.0.1', onMessage: () => {} });
    sender.send(new Uint8Array([1, 2]), { address: group, port: listener.local.port });
    expect((await inbox.until(1))[0]).toHaveLength(2);
  });

  test('speaks IPv6', async () => {
    const network = new NodeNetwork();
    const inbox = new Mailbox<Endpoint>();
    const onMessage = (_data: Uint8Array, from: Endpoint) => inbox.put(from);
    await using socket = await network.bindUdp({ family: 6, address: '::1', onMessage });
    socket.send(new Uint8Array(1), socket.local);
    expect(await inbox.until(1)).toEqual([{ address: '::1', port: socket.local.port }]);
  });

  test('cuts a closed connection off when the other side never ends it', async () => {
    const clock = new VirtualClock();
    const closes = new Mailbox<Error | undefined>();
    const stubborn = createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume();
      void closes.until(1).then(() => socket.destroy());
    });
    await new Promise<void>((resolve) => stubborn.listen(0, '127.0.0.1', resolve));
    const { port } = stubborn.address() as AddressInfo;
    const network = new NodeNetwork({ clock });
    const connection = await network.connectTcp(
      { address: '127.0.0.1', port },
      { onData: () => {}, onClose: closes.put },
    );
    const closing = connection.close();
    while (clock.pendingTimers === 0) await new Promise(setImmediate);
    expect(closes.items).toEqual([]);
    await clock.advance(5_000);
    await closing;
    expect(closes.items).toEqual([undefined]);
    await new Promise((resolve) => stubborn.close(resolve));
  });

  test('reports a datagram that is too big, and stays open', async () => {
    const errors = new Mailbox<Error>();
    await using socket = await new NodeNetwork().bindUdp({
      address: '127.0.0.1',
      onMessage: () => {},
      onError: errors.put,
    });
    socket.send(new Uint8Array(70_000), socket.local);
    expect(await errors.until(1)).toMatchObject([{ name: 'NetError', code: 'message-too-big' }]);
  });
});

/** A self-signed certificate for `name`, made by the openssl program; `undefined` where there is none. */
function certificate(name: string): { cert: string; key: string } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-net-'));
  try {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const what = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`];
    execFileSync(process.env.OPENSSL ?? 'openssl', [...what, ...names, '-keyout', key, '-out', cert], {
      stdio: 'pipe',
    });
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const identity = certificate('relay.test');

if (identity) {
  const client = { ca: identity.cert, serverName: 'relay.test' };
  streamSuite('TLS on the real network', () => ({
    ...loopback(),
    tls: { server: identity, client },
    endsWithoutReset: true,
  }));
}

describe.skipIf(!identity)('TLS on the real network (needs the openssl program)', () => {
  const echo = () => {
    const failures = new Mailbox<Error>();
    const listening = new NodeNetwork().listenTcp({
      address: '127.0.0.1',
      tls: identity!,
      onConnection: (connection) => ({ onData: (data) => connection.write(data) }),
      onError: failures.put,
    });
    return { listening, failures };
  };

  test('echoes under a trusted authority and the right name', async () => {
    const { listening } = echo();
    await using listener = await listening;
    const inbox = new Mailbox<Uint8Array>();
    await using connection = await new NodeNetwork().connectTcp(listener.local, {
      onData: inbox.put,
      tls: { ca: identity!.cert, serverName: 'relay.test' },
    });
    connection.write(new TextEncoder().encode('sealed'));
    expect(new TextDecoder().decode((await inbox.until(1))[0])).toBe('sealed');
  });

  test('refuses an unknown authority and a wrong name, and takes both when told to be insecure', async () => {
    const { listening } = echo();
    await using listener = await listening;
    const dial = (tls: { ca?: string; serverName?: string; insecure?: boolean }) =>
      new NodeNetwork().connectTcp(listener.local, { onData: () => {}, tls });
    await expect(dial({ serverName: 'relay.test' })).rejects.toMatchObject({ code: 'tls-failed' });
    await expect(dial({ ca: identity!.cert, serverName: 'other.test' })).rejects.toMatchObject({ code: 'tls-failed' });
    await expect(dial({ ca: identity!.cert })).rejects.toMatchObject({ code: 'tls-failed' });
    await using connection = await dial({ insecure: true });
    expect(connection.remote).toEqual(listener.local);
  });

  test('trusts more authorities besides those of the system, under the right name only', async () => {
    const { listening } = echo();
    await using listener = await listening;
    const dial = (serverName: string, moreAuthorities?: string) =>
      new NodeNetwork().connectTcp(listener.local, { onData: () => {}, tls: { serverName, moreAuthorities } });
    await expect(dial('relay.test')).rejects.toMatchObject({ code: 'tls-failed' });
    await expect(dial('other.test', identity!.cert)).rejects.toMatchObject({ code: 'tls-failed' });
    await using connection = await dial('relay.test', identity!.cert);
    expect(connection.remote).toEqual(listener.local);
  });

  test('drops a client that sends its TLS handshake a byte at a time, and no other (A2)', async () => {
    const clock = new VirtualClock();
    const accepted = new Mailbox<TcpConnection>();
    await using listener = await new NodeNetwork({ clock }).listenTcp({
      address: '127.0.0.1',
      tls: identity!,
      onConnection: (connection) => {
        accepted.put(connection);
        return { onData: () => {} };
      },
    });
    const client = { ca: identity!.cert, serverName: 'relay.test' };
    const quick = await new NodeNetwork().connectTcp(listener.local, { onData: () => {}, tls: client });
    const [served] = await accepted.until(1);
    const slow = connect(listener.local.port, listener.local.address);
    await once(slow, 'connect');
    slow.on('error', () => {});
    const closed = once(slow, 'close');
    // The beginning of a TLS record with a long greeting.
    const hello = Buffer.concat([Buffer.from('16030105000100', 'hex'), Buffer.alloc(100)]);
    await expect.poll(() => clock.pendingTimers).toBe(1);
    for (let at = 0; at < 10; at++) {
      expect(slow.destroyed).toBe(false);
      slow.write(hello.subarray(at, at + 1));
      await clock.advance(1_000);
    }
    await closed;
    expect(served!.write(Uint8Array.of(1))).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    quick.destroy();
    served!.destroy();
  });

  test('refuses to renegotiate (A2)', async () => {
    await using listener = await new NodeNetwork().listenTcp({
      address: '127.0.0.1',
      tls: identity!,
      onConnection: () => ({ onData: () => {} }),
    });
    const { port } = listener.local;
    const client = connectTls({ port, ca: identity!.cert, servername: 'relay.test', maxVersion: 'TLSv1.2' });
    await once(client, 'secureConnect');
    const failed = once(client, 'error');
    client.renegotiate({}, () => {});
    expect(await failed).toMatchObject([{ code: 'ERR_SSL_NO_RENEGOTIATION' }]);
    client.destroy();
  });

  test('names a bad certificate, and closes while a handshake is under way', async () => {
    const network = new NodeNetwork();
    const onConnection = () => ({ onData: () => {} });
    await expect(network.listenTcp({ tls: { cert: 'x', key: 'y' }, onConnection })).rejects.toMatchObject({
      code: 'tls-failed',
    });
    const listener = await network.listenTcp({ address: '127.0.0.1', tls: identity!, onConnection });
    const closed = new Mailbox<Error | undefined>();
    await network.connectTcp(listener.local, { onData: () => {}, onClose: closed.put });
    await listener.close();
    await closed.until(1);
  });

  test('reports a client that speaks no TLS, and goes on accepting', async () => {
    const { listening, failures } = echo();
    await using listener = await listening;
    const closed = new Mailbox<Error | undefined>();
    const plain = await new NodeNetwork().connectTcp(listener.local, { onData: () => {}, onClose: closed.put });
    plain.write(new TextEncoder().encode('GET / HTTP/1.0\r\n\r\n'));
    expect(await failures.until(1)).toMatchObject([{ code: 'tls-failed' }]);
    await closed.until(1);
    await using connection = await new NodeNetwork().connectTcp(listener.local, {
      onData: () => {},
      tls: { insecure: true },
    });
    expect(connection.local.port).toBeGreaterThan(0);
  });
});

import { describe, expect, test } from 'vitest';
import type { DatagramMatch } from '../src/datagram-routes.ts';
import type {
  Endpoint,
  Network,
  TcpConnection,
  TcpHandlers,
  TcpListener,
  TlsClientOptions,
  TlsServerOptions,
  UdpOptions,
} from '../src/index.ts';

/** Two hosts that reach each other; on the loopback of one machine both are the same. */
export interface World extends AsyncDisposable {
  readonly here: Network;
  readonly there: Network;
  readonly hereAddress: string;
  readonly thereAddress: string;
  /** An address that reaches `there` and others at once. */
  readonly broadcastAddress: string;
  /** Connections and listeners of the stream tests use TLS with these. */
  readonly tls?: { readonly server: TlsServerOptions; readonly client: TlsClientOptions };
  /** A destroyed connection looks to the other side as one that ended. */
  readonly endsWithoutReset?: boolean;
  /** Waits for a promise while time goes on. */
  run<T>(promise: Promise<T>): Promise<T>;
}

/** Collects what handlers report, and lets a test wait for it. */
export class Mailbox<T> {
  readonly items: T[] = [];
  readonly #waiting: { count: number; resolve: () => void }[] = [];

  readonly put = (item: T): void => {
    this.items.push(item);
    for (const waiter of this.#waiting) if (this.items.length >= waiter.count) waiter.resolve();
  };

  /** Resolves with everything once there are `count` items. */
  async until(count: number): Promise<T[]> {
    if (this.items.length < count) await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    return this.items;
  }
}

interface Datagram {
  text: string;
  from: Endpoint;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

/** The behaviour that every {@link Network} has; `open` makes a fresh pair of hosts for each test. */
export function networkSuite(name: string, open: () => World | Promise<World>): void {
  const bind = async (world: World, network: Network, options: Partial<UdpOptions> = {}) => {
    const inbox = new Mailbox<Datagram>();
    const errors = new Mailbox<Error>();
    const onMessage = (data: Uint8Array, from: Endpoint) => inbox.put({ text: text(data), from });
    const socket = await world.run(network.bindUdp({ onMessage, onError: errors.put, ...options }));
    return { socket, inbox, errors };
  };

  describe(`UDP on the ${name} network`, () => {
    test('gives each socket a port of its own that is never 0 (A4)', async () => {
      await using world = await open();
      const bound = [];
      for (let count = 0; count < 20; count++)
        bound.push(await bind(world, world.here, { address: world.hereAddress }));
      const ports = bound.map(({ socket }) => socket.local.port);
      expect(new Set(ports).size).toBe(20);
      for (const port of ports) expect(port).toBeGreaterThan(0);
      for (const { socket } of bound) await world.run(socket.close());
    });

    test('delivers a datagram with its sender, and the answer goes back', async () => {
      await using world = await open();
      const a = await bind(world, world.here, { address: world.hereAddress });
      const b = await bind(world, world.there, { address: world.thereAddress });
      a.socket.send(bytes('ping'), b.socket.local);
      const [ping] = await world.run(b.inbox.until(1));
      expect(ping).toEqual({ text: 'ping', from: a.socket.local });
      b.socket.send(bytes('pong'), ping!.from);
      expect(await world.run(a.inbox.until(1))).toEqual([{ text: 'pong', from: b.socket.local }]);
    });

    test('binds the asked port, and refuses it a second time until it is closed', async () => {
      await using world = await open();
      const { socket } = await bind(world, world.here, { address: world.hereAddress });
      const again = { address: world.hereAddress, port: socket.local.port };
      await expect(bind(world, world.here, again)).rejects.toMatchObject({ name: 'NetError', code: 'address-in-use' });
      await world.run(socket.close());
      const { socket: second } = await bind(world, world.here, again);
      expect(second.local).toEqual(again);
      await world.run(second.close());
    });

    test('lets several sockets share a port with reuseAddress', async () => {
      await using world = await open();
      const first = await bind(world, world.here, { reuseAddress: true });
      const second = await bind(world, world.here, { reuseAddress: true, port: first.socket.local.port });
      expect(second.socket.local.port).toBe(first.socket.local.port);
    });

    test('refuses an address that the host does not have', async () => {
      await using world = await open();
      await expect(bind(world, world.here, { address: '198.51.100.77' })).rejects.toMatchObject({
        code: 'address-not-available',
      });
      await expect(bind(world, world.here, { address: 'localhost' })).rejects.toMatchObject({ code: 'bad-address' });
    });

    test('reports a send to a host name or to port 0 as bad-address, and stays open', async () => {
      await using world = await open();
      const a = await bind(world, world.here, { address: world.hereAddress });
      a.socket.send(bytes('x'), { address: 'example.invalid', port: 9 });
      a.socket.send(bytes('x'), { address: world.thereAddress, port: 0 });
      a.socket.send(bytes('x'), { address: '2001:db8::1', port: 9 });
      const errors = await world.run(a.errors.until(3));
      expect(errors.map((error) => (error as { code?: string }).code)).toEqual(Array(3).fill('bad-address'));
      a.socket.send(bytes('still here'), a.socket.local);
      await world.run(a.inbox.until(1));
    });

    test('broadcasts to every socket of the port', async () => {
      await using world = await open();
      const listener = await bind(world, world.there, { reuseAddress: true });
      const searcher = await bind(world, world.here, { broadcast: true });
      searcher.socket.send(bytes('who is there'), {
        address: world.broadcastAddress,
        port: listener.socket.local.port,
      });
      const [heard] = await world.run(listener.inbox.until(1));
      expect(heard!.text).toBe('who is there');
      expect(heard!.from.port).toBe(searcher.socket.local.port);
    });

    test('hands each datagram to one handler: predicates, then its kind, then the default one', async () => {
      await using world = await open();
      const heard: string[] = [];
      const a = await bind(world, world.here, { address: world.hereAddress });
      const b = await bind(world, world.there, { address: world.thereAddress });
      const route = (name: string, match: DatagramMatch) => b.socket.route(match, () => heard.push(name));
      const stun = new Uint8Array([0, 1, 0, 0]);
      const send = async (data: Uint8Array, last: string) => {
        a.socket.send(data, b.socket.local);
        // What is sent after it arrives after it.
        a.socket.send(bytes(last), b.socket.local);
        await world.run(b.inbox.until(b.inbox.items.length + 1));
      };
      using first = route('stun', 'stun');
      route('channel-data', 'channel-data');
      await send(stun, 'marker');
      const younger = route('younger stun', 'stun');
      await send(stun, 'marker');
      const predicate = route('predicate', (data, from) => data[0] === 0 && from.port === a.socket.local.port);
      await send(stun, 'marker');
      predicate[Symbol.dispose]();
      younger[Symbol.dispose]();
      younger[Symbol.dispose]();
      await send(stun, 'marker');
      await send(new Uint8Array([0x40, 0, 0, 0]), 'marker');
      expect(heard).toEqual(['stun', 'younger stun', 'predicate', 'stun', 'channel-data']);
      expect(b.inbox.items.map((item) => item.text)).toEqual(Array(5).fill('marker'));
      first[Symbol.dispose]();
      a.socket.send(stun, b.socket.local);
      await world.run(b.inbox.until(6));
      expect([heard.length, b.socket.unroutedDatagrams]).toEqual([5, 0]);
    });

    test('counts the datagrams that nobody takes', async () => {
      await using world = await open();
      const a = await bind(world, world.here, { address: world.hereAddress });
      const b = await bind(world, world.there, { address: world.thereAddress, onMessage: undefined });
      const other = new Mailbox<Uint8Array>();
      b.socket.route('other', other.put);
      a.socket.send(new Uint8Array([0, 1]), b.socket.local);
      a.socket.send(new Uint8Array([0x4f]), b.socket.local);
      a.socket.send(new Uint8Array([0xf1]), b.socket.local);
      await world.run(other.until(1));
      expect(b.socket.unroutedDatagrams).toBe(2);
    });

    test('a connected socket hears only its remote endpoint, and sends to no other', async () => {
      await using world = await open();
      const b = await bind(world, world.there, { address: world.thereAddress });
      const stranger = await bind(world, world.there, { address: world.thereAddress });
      const a = await bind(world, world.here, { remote: b.socket.local });
      expect(a.socket.remote).toEqual(b.socket.local);
      expect(a.socket.local.address).toBe(world.hereAddress);
      stranger.socket.send(bytes('hello'), a.socket.local);
      a.socket.send(bytes('ping'), b.socket.local);
      const [ping] = await world.run(b.inbox.until(1));
      expect(ping).toEqual({ text: 'ping', from: a.socket.local });
      b.socket.send(bytes('pong'), a.socket.local);
      expect((await world.run(a.inbox.until(1))).map((item) => item.text)).toEqual(['pong']);
      a.socket.send(bytes('x'), stranger.socket.local);
      expect(await world.run(a.errors.until(1))).toMatchObject([{ code: 'bad-address' }]);
    });

    test('a connected socket hears at once that a port is closed, and stays usable', async () => {
      await using world = await open();
      const { socket } = await bind(world, world.there, { address: world.thereAddress });
      const closed = socket.local;
      await world.run(socket.close());
      const a = await bind(world, world.here, { remote: closed });
      a.socket.send(bytes('anyone?'), closed);
      const [error] = await world.run(a.errors.until(1));
      expect(error).toMatchObject({ name: 'NetError', code: 'connection-refused' });
      const b = await bind(world, world.there, closed);
      a.socket.send(bytes('now'), closed);
      expect((await world.run(b.inbox.until(1)))[0]!.text).toBe('now');
    });

    test('connects to no address of another family, and leaves no socket behind', async () => {
      await using world = await open();
      const remote = { address: '2001:db8::1', port: 9 };
      await expect(world.run(bind(world, world.here, { remote }))).rejects.toMatchObject({ code: 'bad-address' });
    });

    test('refuses to broadcast without the option', async () => {
      await using world = await open();
      const { socket, errors } = await bind(world, world.here);
      socket.send(bytes('x'), { address: '255.255.255.255', port: 9 });
      expect(await world.run(errors.until(1))).toMatchObject([{ code: 'permission-denied' }]);
    });

    test('rejects with the reason when the signal aborts before or while binding, and leaves the port free (A6)', async () => {
      await using world = await open();
      const reason = new Error('over');
      await expect(bind(world, world.here, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const { socket } = await bind(world, world.here);
      const { port } = socket.local;
      await world.run(socket.close());
      const controller = new AbortController();
      const binding = bind(world, world.here, { port, signal: controller.signal });
      controller.abort(reason);
      await expect(binding).rejects.toBe(reason);
      const again = await bind(world, world.here, { port });
      expect(again.socket.local.port).toBe(port);
    });

    test('closes when the signal aborts later (A6)', async () => {
      await using world = await open();
      const controller = new AbortController();
      const { socket } = await bind(world, world.here, { signal: controller.signal });
      controller.abort();
      await world.run(socket.close());
      const again = await bind(world, world.here, { port: socket.local.port });
      expect(again.socket.local.port).toBe(socket.local.port);
    });

    test('closes once however often it is asked, and calls no handler and sends nothing afterwards', async () => {
      await using world = await open();
      const a = await bind(world, world.here, { address: world.hereAddress });
      const b = await bind(world, world.there, { address: world.thereAddress });
      const witness = await bind(world, world.there, { address: world.thereAddress });
      a.socket.send(bytes('on its way'), b.socket.local);
      a.socket.send(bytes('on its way'), witness.socket.local);
      await Promise.all([b.socket.close(), b.socket.close()]);
      await world.run(witness.inbox.until(1));
      b.socket.send(bytes('after close'), a.socket.local);
      b.socket.send(bytes('after close'), { address: 'nonsense', port: 0 });
      witness.socket.send(bytes('last'), a.socket.local);
      expect(await world.run(a.inbox.until(1))).toMatchObject([{ text: 'last' }]);
      expect([b.inbox.items, b.errors.items]).toEqual([[], []]);
    });
  });

  describe(`names and routes on the ${name} network`, () => {
    test('returns an IP address as it is, and knows localhost', async () => {
      await using world = await open();
      const { here } = world;
      expect(await world.run(here.resolve('192.0.2.1'))).toEqual(['192.0.2.1']);
      expect(await world.run(here.resolve('2001:db8::1', { family: 6 }))).toEqual(['2001:db8::1']);
      await expect(world.run(here.resolve('192.0.2.1', { family: 6 }))).rejects.toMatchObject({
        code: 'name-without-address',
      });
      expect(await world.run(here.resolve('localhost', { family: 4 }))).toEqual(['127.0.0.1']);
    });

    test('rejects with the reason when the signal aborts (A6)', async () => {
      await using world = await open();
      const reason = new Error('over');
      await expect(world.here.resolve('relay.example', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const controller = new AbortController();
      const looking = world.here.resolve('relay.example', { signal: controller.signal });
      controller.abort(reason);
      await expect(world.run(looking)).rejects.toBe(reason);
      await expect(world.here.defaultRoute({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    });

    test('names the interface and the source address of a route', async () => {
      await using world = await open();
      const route = await world.run(world.here.defaultRoute({ to: world.thereAddress }));
      const own = world.here.interfaces().find(({ address }) => address === world.hereAddress)!;
      expect(route).toEqual({ family: 4, interface: own.name, source: world.hereAddress, gateway: undefined });
    });
  });

  streamSuite(`TCP on the ${name} network`, open);
}

/** What a connection's handlers saw. */
class Seen implements TcpHandlers {
  readonly chunks = new Mailbox<Uint8Array>();
  readonly drains = new Mailbox<true>();
  readonly closes = new Mailbox<Error | undefined>();
  receivedBytes = 0;
  readonly onData = (data: Uint8Array): void => {
    this.receivedBytes += data.length;
    this.chunks.put(data);
  };
  readonly onDrain = (): void => this.drains.put(true);
  readonly onClose = (error?: Error): void => this.closes.put(error);
  text(): string {
    return text(Buffer.concat(this.chunks.items));
  }
}

/** What every stream is held to, over TCP or, where the world has `tls`, over TLS. */
export function streamSuite(name: string, open: () => World | Promise<World>): void {
  const listen = async (world: World) => {
    const accepted = new Mailbox<{ connection: TcpConnection; seen: Seen }>();
    const listener = await world.run(
      world.there.listenTcp({
        address: world.thereAddress,
        tls: world.tls?.server,
        onConnection: (connection) => {
          const seen = new Seen();
          accepted.put({ connection, seen });
          return seen;
        },
      }),
    );
    return { listener, accepted };
  };
  const connect = async (world: World, to: Endpoint, signal?: AbortSignal | undefined) => {
    const seen = new Seen();
    const { onData, onDrain, onClose } = seen;
    const connection = await world.run(
      world.here.connectTcp(to, { onData, onDrain, onClose, signal, tls: world.tls?.client }),
    );
    return { connection, seen };
  };
  const pair = async (world: World) => {
    const { listener, accepted } = await listen(world);
    const client = await connect(world, listener.local);
    const [server] = await world.run(accepted.until(1));
    return { listener, client, server: server! };
  };

  describe(name, () => {
    test('connects both ends with matching addresses, and echoes', async () => {
      await using world = await open();
      const { listener, client, server } = await pair(world);
      expect(listener.local.port).toBeGreaterThan(0);
      expect(client.connection.remote).toEqual(listener.local);
      expect(server.connection.remote).toEqual(client.connection.local);
      client.connection.write(bytes('hello'));
      await world.run(server.seen.chunks.until(1));
      server.connection.write(bytes(`${server.seen.text()} yourself`));
      await world.run(client.seen.chunks.until(1));
      expect(client.seen.text()).toBe('hello yourself');
    });

    test('hands out nothing while paused, and all of it afterwards in order', async () => {
      await using world = await open();
      const { client, server } = await pair(world);
      server.connection.setPaused(true);
      client.connection.write(bytes('one '));
      client.connection.write(bytes('two'));
      server.connection.write(bytes('go on'));
      await world.run(client.seen.chunks.until(1));
      expect(server.seen.text()).toBe('');
      server.connection.setPaused(false);
      while (server.seen.text().length < 7)
        await world.run(server.seen.chunks.until(server.seen.chunks.items.length + 1));
      expect(server.seen.text()).toBe('one two');
    });

    test('reports connection-refused where nothing listens', async () => {
      await using world = await open();
      const { listener } = await listen(world);
      await world.run(listener.close());
      await expect(connect(world, listener.local)).rejects.toMatchObject({
        name: 'NetError',
        code: 'connection-refused',
      });
    });

    test('refuses a port that is already listened on', async () => {
      await using world = await open();
      const { listener } = await listen(world);
      const again = world.there.listenTcp({ ...listener.local, onConnection: () => new Seen() });
      await expect(world.run(again)).rejects.toMatchObject({ code: 'address-in-use' });
    });

    test('rejects with the reason when the signal aborts before or while connecting (A6)', async () => {
      await using world = await open();
      const { listener } = await listen(world);
      const reason = new Error('over');
      await expect(connect(world, listener.local, AbortSignal.abort(reason))).rejects.toBe(reason);
      const controller = new AbortController();
      const connecting = connect(world, listener.local, controller.signal);
      controller.abort(reason);
      await expect(connecting).rejects.toBe(reason);
    });

    test('drops the connection when the signal aborts later: each side closes once (A6)', async () => {
      await using world = await open();
      const { listener, accepted } = await listen(world);
      const controller = new AbortController();
      const client = await connect(world, listener.local, controller.signal);
      const [server] = await world.run(accepted.until(1));
      controller.abort();
      await world.run(Promise.all([client.seen.closes.until(1), server!.seen.closes.until(1)]));
      expect(client.seen.closes.items).toEqual([undefined]);
      expect(server!.seen.closes.items).toMatchObject(
        world.endsWithoutReset ? [undefined] : [{ code: 'connection-reset' }],
      );
    });

    test('sends what is queued before it closes, and both sides close without an error', async () => {
      await using world = await open();
      const { client, server } = await pair(world);
      const payload = new Uint8Array(300_000).map((_, at) => at % 251);
      client.connection.write(payload);
      await world.run(Promise.all([client.connection.close(), client.connection.close(), server.seen.closes.until(1)]));
      expect(Buffer.concat(server.seen.chunks.items).equals(payload)).toBe(true);
      expect(client.seen.closes.items).toEqual([undefined]);
      expect(server.seen.closes.items).toEqual([undefined]);
    });

    test('says when to stop writing a large stream, and when it drained', async () => {
      await using world = await open();
      const { client, server } = await pair(world);
      const chunk = new Uint8Array(64 * 1024).fill(7);
      let written = 0;
      for (let waits = 1; waits <= 3; waits++) {
        do {
          written += chunk.length;
        } while (client.connection.write(chunk));
        expect(client.connection.bufferedBytes).toBeGreaterThan(0);
        await world.run(client.seen.drains.until(waits));
      }
      await world.run(client.connection.close());
      await world.run(server.seen.closes.until(1));
      expect(server.seen.receivedBytes).toBe(written);
    });

    test('writes nothing after close', async () => {
      await using world = await open();
      const { client, server } = await pair(world);
      const closing = client.connection.close();
      expect(client.connection.write(bytes('late'))).toBe(false);
      await world.run(closing);
      await world.run(server.seen.closes.until(1));
      expect(server.seen.chunks.items).toEqual([]);
    });

    test('reports a reset by the other side as connection-reset', async () => {
      await using world = await open();
      const { client, server } = await pair(world);
      server.connection.destroy();
      await world.run(client.seen.closes.until(1));
      const reset = { name: 'NetError', code: 'connection-reset' };
      expect(client.seen.closes.items).toMatchObject(world.endsWithoutReset ? [undefined] : [reset]);
      await world.run(server.seen.closes.until(1));
      expect(server.seen.closes.items).toEqual([undefined]);
    });

    test('destroys its connections when the listener closes, but not when its signal aborts', async () => {
      await using world = await open();
      const controller = new AbortController();
      const accepted = new Mailbox<Seen>();
      const onConnection = () => {
        const seen = new Seen();
        accepted.put(seen);
        return seen;
      };
      const listener: TcpListener = await world.run(
        world.there.listenTcp({
          address: world.thereAddress,
          tls: world.tls?.server,
          signal: controller.signal,
          onConnection,
        }),
      );
      const client = await connect(world, listener.local);
      await world.run(accepted.until(1));
      controller.abort();
      client.connection.write(bytes('still on'));
      await world.run(accepted.items[0]!.chunks.until(1));
      await expect(connect(world, listener.local)).rejects.toMatchObject({ code: 'connection-refused' });
      await world.run(listener.close());
      await world.run(client.seen.closes.until(1));
    });
  });
}

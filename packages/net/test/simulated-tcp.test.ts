import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TcpConnection } from '../src/index.ts';
import { type SimulatedLinkOptions, natKinds, type SimulatedHost } from '../src/simulated/index.ts';
import { Simulation } from './simulation.ts';

/** A connection between a client behind `link` and a server, and what each end saw. */
async function connected(
  link: SimulatedLinkOptions = {},
  { seed = 1, client }: { seed?: number; client?: SimulatedHost } = {},
) {
  const simulation = new Simulation(seed);
  const { clock, internet } = simulation;
  const nat = internet.nat(natKinds.portRestricted);
  const host = client ?? nat.host({ link });
  const server = internet.host();
  const seen = { client: ends(), server: ends() };
  let accepted: TcpConnection | undefined;
  const listener = await server.network.listenTcp({
    port: 443,
    onConnection: (connection) => {
      accepted = connection;
      return seen.server.handlers;
    },
  });
  const to = { address: server.address, port: 443 };
  const connection = await clock.runUntil(host.network.connectTcp(to, seen.client.handlers));
  await clock.runUntil(waitFor(() => accepted !== undefined, clock));
  return { clock, internet, nat, host, server, listener, connection, accepted: accepted!, seen };
}

function ends() {
  const chunks: Uint8Array[] = [];
  const closes: (string | undefined)[] = [];
  return {
    closes,
    bytes: () => Buffer.concat(chunks),
    handlers: {
      onData: (data: Uint8Array) => chunks.push(data),
      onClose: (error?: Error) => closes.push(error && 'code' in error ? String(error.code) : error?.message),
    },
  };
}

const payload = (length: number, seed: number) => Uint8Array.from({ length }, (_, at) => (at * seed + (at >> 8)) % 256);

describe('simulated TCP', () => {
  test('delivers both streams exactly, whatever loss, duplication, reordering and rate do to the packets', async () => {
    const links = fc.record({
      delayMs: fc.integer({ min: 0, max: 100 }),
      jitterMs: fc.integer({ min: 0, max: 30 }),
      lossRatio: fc.constantFrom(0, 0.02, 0.1),
      duplicateRatio: fc.constantFrom(0, 0.1),
      reorderRatio: fc.constantFrom(0, 0.1),
      bytesPerSecond: fc.constantFrom(undefined, 50_000),
    });
    const writes = fc.array(fc.nat(20_000), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.nat(), links, writes, writes, async (seed, link, there, back) => {
        const { clock, internet, connection, accepted, listener, seen } = await connected(link, { seed });
        const sent = {
          there: there.map((length) => payload(length, 7)),
          back: back.map((length) => payload(length, 11)),
        };
        for (const chunk of sent.there) connection.write(chunk);
        for (const chunk of sent.back) accepted.write(chunk);
        await clock.runUntil(
          waitFor(() => seen.client.bytes().length === sum(back) && seen.server.bytes().length === sum(there), clock),
        );
        await clock.runUntil(Promise.all([connection.close(), accepted.close()]));
        await listener.close();
        expect(seen.server.bytes().equals(Buffer.concat(sent.there))).toBe(true);
        expect(seen.client.bytes().equals(Buffer.concat(sent.back))).toBe(true);
        expect([seen.client.closes, seen.server.closes]).toEqual([[undefined], [undefined]]);
        await clock.advance(1_000);
        expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
      }),
      { numRuns: 30 },
    );
  });

  test('fills a link to nine tenths of its rate', async () => {
    const { clock, connection, seen } = await connected({ delayMs: 20, bytesPerSecond: 125_000 });
    const startedAt = clock.now();
    connection.write(payload(1_000_000, 3));
    await clock.runUntil(connection.close());
    expect(seen.server.bytes().length).toBe(1_000_000);
    expect(1_000_000 / (clock.now() - startedAt)).toBeGreaterThan(0.9 * 125);
  });

  test('goes on after a pause of the link', async () => {
    const { clock, host, connection, seen } = await connected();
    host.unplug();
    connection.write(payload(10_000, 3));
    await clock.advance(10_000);
    expect(seen.server.bytes().length).toBe(0);
    host.replug();
    await clock.advance(15_000);
    expect(seen.server.bytes().length).toBe(10_000);
    expect(seen.client.closes).toEqual([]);
  });

  test('reports timed-out when nothing is acknowledged for minutes', async () => {
    const { clock, server, connection, seen } = await connected();
    server.unplug();
    connection.write(payload(100, 3));
    await clock.advance(300_000);
    expect(seen.client.closes).toEqual(['timed-out']);
    expect(connection.write(payload(1, 1))).toBe(false);
    await clock.runUntil(connection.close());
  });

  test('reports unreachable without a route, timed-out where nobody answers', async () => {
    const { clock, internet, host, server } = await connected();
    const dial = (address: string, port: number) =>
      clock.runUntil(host.network.connectTcp({ address, port }, { onData: () => {} }));
    await expect(dial('198.51.100.1', 1)).rejects.toMatchObject({ code: 'unreachable' });
    await expect(dial(server.address, 444)).rejects.toMatchObject({ code: 'connection-refused' });
    await expect(dial('example.org', 444)).rejects.toMatchObject({ code: 'bad-address' });
    server.firewall.options = { policy: 'closed' };
    await expect(dial(server.address, 443)).rejects.toMatchObject({ code: 'timed-out' });
    host.unplug();
    await expect(dial(server.address, 443)).rejects.toMatchObject({ code: 'unreachable' });
    expect(internet.openSockets).toBe(3);
  });

  test('is reset by a server that no longer knows the client after the NAT forgot it', async () => {
    const { clock, nat, connection, seen } = await connected();
    nat.rebind();
    connection.write(payload(100, 3));
    await clock.advance(10_000);
    expect(seen.client.closes).toEqual(['connection-reset']);
  });

  test('leaves from the asked local port, once at a time', async () => {
    const { clock, host, server } = await connected();
    const to = { address: server.address, port: 443 };
    const dial = () => clock.runUntil(host.network.connectTcp(to, { onData: () => {}, localPort: 5_000 }));
    const first = await dial();
    expect(first.local).toEqual({ address: host.address, port: 5_000 });
    await expect(dial()).rejects.toMatchObject({ code: 'address-in-use' });
    await clock.runUntil(first.close());
    expect((await dial()).local.port).toBe(5_000);
  });

  test('reconnects from the same port while the server still holds the dead connection (B6)', async () => {
    const { clock, host, server, seen } = await connected();
    const to = { address: server.address, port: 443 };
    const dial = () => clock.runUntil(host.network.connectTcp(to, { onData: () => {}, localPort: 5_000 }));
    const first = await dial();
    host.unplug();
    first.destroy();
    host.replug();
    const second = await dial();
    expect(second.local.port).toBe(5_000);
    expect(seen.server.closes).toEqual(['connection-reset']);
  });

  test('wants both sides to agree on TLS', async () => {
    const { clock, host, server } = await connected();
    const failures: string[] = [];
    await server.network.listenTcp({
      port: 5_349,
      tls: { cert: '', key: '' },
      onConnection: () => ({ onData: () => {} }),
      onError: (error) => failures.push('code' in error ? String(error.code) : ''),
    });
    const dial = (tls?: object) =>
      clock.runUntil(host.network.connectTcp({ address: server.address, port: 5_349 }, { onData: () => {}, tls }));
    await expect(dial()).rejects.toMatchObject({ code: 'tls-failed' });
    expect(failures).toEqual(['tls-failed']);
    expect((await dial({})).remote.port).toBe(5_349);
  });
});

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);

async function waitFor(condition: () => boolean, clock: { sleep(ms: number): Promise<void> }): Promise<void> {
  while (!condition()) await clock.sleep(50);
}

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SimulatedLinkOptions, natKinds } from '../src/simulated/index.ts';
import { Simulation } from './simulation.ts';

/** Two public hosts, the first behind `link`; sends `count` numbered datagrams, `gapMs` apart. */
async function numbered(link: SimulatedLinkOptions, { count = 100, gapMs = 1, bytes = 100, seed = 1 } = {}) {
  const simulation = new Simulation(seed);
  const { clock, internet } = simulation;
  const sender = await simulation.bind(internet.host({ link }));
  const host = internet.host();
  const receiver = await simulation.bind(host, { port: 9 });
  for (let at = 0; at < count; at++) {
    sender.sendText(String(at).padEnd(bytes), { address: host.address, port: 9 });
    await clock.advance(gapMs);
  }
  await clock.advance(60_000);
  const numbers = receiver.received.map(({ text }) => Number(text));
  return { numbers, received: receiver.received, counters: internet.counters, trace: simulation.trace };
}

const inOrder = (numbers: number[]) => numbers.every((number, at) => at === 0 || numbers[at - 1]! <= number);

describe('a link', () => {
  test('delays by its delay and the other link by its own', async () => {
    const { received } = await numbered({ delayMs: 30 }, { count: 2, gapMs: 5 });
    expect(received.map(({ atMs }) => atMs)).toEqual([40, 45]);
  });

  test('jitters within bounds and keeps the order', async () => {
    const { received, numbers } = await numbered({ delayMs: 30, jitterMs: 20 });
    const delays = received.map(({ atMs }, at) => atMs - at);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(40);
    expect(Math.max(...delays)).toBeLessThan(60);
    expect(new Set(delays).size).toBeGreaterThan(10);
    expect(inOrder(numbers)).toBe(true);
  });

  test('loses the share that it is told to', async () => {
    const { numbers, counters } = await numbered({ lossRatio: 0.3 }, { count: 1_000 });
    expect(numbers.length).toBeGreaterThan(650);
    expect(numbers.length).toBeLessThan(750);
    expect(counters.dropped).toEqual({ lost: 1_000 - numbers.length });
  });

  test('duplicates', async () => {
    const { numbers, counters } = await numbered({ duplicateRatio: 0.5 });
    expect(numbers.length).toBeGreaterThan(130);
    expect(new Set(numbers).size).toBe(100);
    expect(counters.copies).toBe(numbers.length - 100);
  });

  test('reorders only when told to', async () => {
    const { numbers } = await numbered({ reorderRatio: 0.2, reorderMs: 7 });
    expect(inOrder(numbers)).toBe(false);
    expect(numbers).toHaveLength(100);
  });

  test('sends at its rate and drops what its queue cannot hold', async () => {
    // 100 + 28 bytes take 128 ms each at 1,000 bytes per second; 1,280 bytes wait.
    const link = { delayMs: 0, bytesPerSecond: 1_000, queueBytes: 1_280 };
    const { received, counters } = await numbered(link, { count: 20, gapMs: 0 });
    expect(received).toHaveLength(10);
    expect(received.map(({ atMs }) => Math.round(atMs - received[0]!.atMs))).toEqual(
      Array.from({ length: 10 }, (_, at) => at * 128),
    );
    expect(counters.dropped).toEqual({ 'queue-full': 10 });
  });

  test('gives a slow wire to whoever comes to it first, however early others were sent', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const receiver = internet.host({ link: { delayMs: 0, bytesPerSecond: 1_000 } });
    const { received } = await simulation.bind(receiver, { port: 9 });
    const far = await simulation.bind(internet.host({ link: { delayMs: 500 } }));
    const near = await simulation.bind(internet.host({ link: { delayMs: 10 } }));
    for (const { sendText } of [far, near]) sendText('x'.repeat(72), { address: receiver.address, port: 9 });
    await clock.advance(1_000);
    expect(received.map(({ atMs }) => atMs)).toEqual([110, 600]);
  });

  test('swallows packets above its MTU without a word', async () => {
    const fits = await numbered({ mtuBytes: 128 }, { count: 3 });
    const tooBig = await numbered({ mtuBytes: 127 }, { count: 3 });
    expect([fits.numbers.length, tooBig.numbers.length]).toEqual([3, 0]);
    expect(tooBig.counters.dropped).toEqual({ 'too-big': 3 });
  });

  test('can differ by direction', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const client = await simulation.bind(internet.host({ link: { delayMs: 5, down: { delayMs: 50 } } }));
    client.sendText('there and back', await simulation.echo(internet.host()));
    await clock.advance(1_000);
    expect(client.received[0]!.atMs).toBe(5 + 10 + 10 + 50);
  });

  test('changes conditions while it runs', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const host = internet.host();
    const client = await simulation.bind(host);
    const server = await simulation.echo(internet.host());
    host.link.change({ lossRatio: 1 });
    client.sendText('lost', server);
    host.link.change({ lossRatio: 0, delayMs: 100 });
    client.sendText('slow', server);
    await clock.advance(1_000);
    expect(client.received).toMatchObject([{ text: 'slow', atMs: 220 }]);
  });

  test('lets nothing through while unplugged, not even what is under way, and works again when replugged (B5)', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const host = internet.host();
    const client = await simulation.bind(host);
    const server = await simulation.echo(internet.host());
    client.sendText('answer lost', server);
    await clock.advance(30);
    host.unplug();
    await clock.advance(100);
    client.sendText('refused', server);
    await clock.advance(100);
    expect(host.network.interfaces().every(({ internal }) => internal)).toBe(true);
    host.replug();
    client.sendText('back', server);
    await clock.advance(100);
    expect(client.texts()).toEqual(['back']);
    expect(client.errors).toEqual(['unreachable']);
    expect(internet.counters).toMatchObject({ dropped: { unplugged: 1 }, inFlight: 0 });
  });
});

const conditions = fc.record({
  delayMs: fc.integer({ min: 0, max: 80 }),
  jitterMs: fc.integer({ min: 0, max: 30 }),
  lossRatio: fc.constantFrom(0, 0.1, 0.5),
  duplicateRatio: fc.constantFrom(0, 0.2),
  reorderRatio: fc.constantFrom(0, 0.2),
  bytesPerSecond: fc.constantFrom(undefined, 20_000),
  queueBytes: fc.constantFrom(undefined, 2_000),
  mtuBytes: fc.constantFrom(undefined, 1_280),
});

describe('a simulated internet', () => {
  const busy = async (seed: number, link: SimulatedLinkOptions) => {
    const simulation = new Simulation(seed);
    const { clock, internet } = simulation;
    const home = internet.nat({ ...natKinds.symmetricRandom, link });
    const hosts = [internet.host({ link }), internet.host(), home.host(), home.host()];
    const server = { address: hosts[0]!.address, port: 7 };
    await simulation.echo(hosts[0]!, { port: 7 });
    const sockets = await Promise.all(hosts.slice(1).map((host) => simulation.bind(host, { broadcast: true })));
    for (let round = 0; round < 30; round++) {
      for (const { socket, sendText } of sockets) {
        sendText(`round ${round}`.padEnd(round * 60), server);
        if (round % 7 === 0) sendText('anybody?', { address: '255.255.255.255', port: socket.local.port });
        if (round % 11 === 0) sendText('nobody', { address: '198.51.100.1', port: 9 });
      }
      await clock.advance(13);
    }
    const under = internet.counters;
    await clock.advance(60_000);
    return { trace: simulation.trace, under, counters: internet.counters, pendingTimers: clock.pendingTimers };
  };

  test('sends the same packets for the same seed, and others for another', async () => {
    const link = { lossRatio: 0.1, jitterMs: 20, duplicateRatio: 0.05, reorderRatio: 0.1 };
    const [first, second, other] = [await busy(1, link), await busy(1, link), await busy(2, link)];
    expect(first.trace.length).toBeGreaterThan(100);
    expect(second.trace).toEqual(first.trace);
    expect(other.trace).not.toEqual(first.trace);
  });

  test('accounts for every packet: sent and copied is delivered, dropped or in flight', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), conditions, async (seed, link) => {
        const { under, counters, trace, pendingTimers } = await busy(seed, link);
        const dropped = Object.values(counters.dropped).reduce((sum, count) => sum + count, 0);
        expect(counters.sent + counters.copies).toBe(counters.delivered + dropped);
        expect(under.inFlight).toBeGreaterThanOrEqual(0);
        expect([counters.inFlight, pendingTimers]).toEqual([0, 0]);
        expect(trace.filter((line) => line.includes(' delivered '))).toHaveLength(counters.delivered);
      }),
      { numRuns: 40 },
    );
  });

  test('runs an hour of keep-alives through two NATs in a small part of that time', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const [left, right] = [internet.nat(natKinds.portRestricted), internet.nat(natKinds.fullCone)];
    const echo = await simulation.echo(right.host(), { port: 5_000 });
    right.forward('udp', echo);
    const client = await simulation.bind(left.host());
    const tick = () => {
      client.sendText('alive', { address: right.externalAddress, port: 5_000 });
      clock.timer(1_000, tick);
    };
    tick();
    const before = process.cpuUsage();
    await clock.advance(3_600_000);
    const { user, system } = process.cpuUsage(before);
    // Of the processor, so that other programs do not count.
    expect((user + system) / 1_000).toBeLessThan(10_000);
    expect(client.received.length).toBe(3_600);
  });
});

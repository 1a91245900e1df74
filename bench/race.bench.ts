import { CameraClient, DEFAULT_UID, RaceConnector } from '@towpath/camera';
import { ParallelConnectionManager } from '@towpath/camera/compat';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { type Clock, SeededRandom, SystemClock } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type Network, NodeNetwork } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import { connectDirect } from '@towpath/pppp';
import { PpppDevice } from '@towpath/pppp/device';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { freePorts } from '../packages/net/test/free-port.ts';

const HERE = '127.0.0.1';
const PORTS = 6;
const ROUND_TRIPS_MS = [0, 20, 100];
/** Time that the sequential client waits at each port, ms. */
const OLD_TIMEOUT_MS = 5_000;

/** Time to reach a camera on one of six ports when the other five are open and silent. */
export const bench: Bench = {
  about:
    'time to connected with a camera on port 1…6 of six, the others silent; beside one port after the other, 5 s each',
  async run({ quick, print }) {
    const rows: BenchRow[] = [];
    for (const rttMs of ROUND_TRIPS_MS) {
      for (let position = 1; position <= PORTS; position++) {
        const samples = await measure(rttMs, position, quick ? 3 : 15);
        const baseline = await oneAfterTheOther(rttMs, position);
        rows.push(...rowsOf(rttMs, position, samples, baseline));
        print(`  RTT ${rttMs} ms, port ${position}: ${samples.path.map((ms) => ms.toFixed(0)).join(' ')}`);
      }
    }
    return rows;
  },
};

interface Samples {
  path: number[];
  login: number[];
}

function rowsOf(rttMs: number, position: number, { path, login }: Samples, baseline: number): BenchRow[] {
  const name = `RTT ${rttMs} ms, port ${position} of ${PORTS}`;
  const value = percentile(path, 0.5);
  const limit = 2 * rttMs + 15;
  const goal = `≤ ${limit} ms`;
  return [
    row({ case: name, metric: 'connected, median', value, unit: 'ms', baseline, goal, met: value <= limit }),
    row({ case: name, metric: 'connected, worst', value: Math.max(...path), unit: 'ms' }),
    row({ case: name, metric: 'logged in, median', value: percentile(login, 0.5), unit: 'ms' }),
  ];
}

async function measure(rttMs: number, position: number, rounds: number): Promise<Samples> {
  const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SeededRandom(1) };
  const [searchPort = 0, ...ports] = await freePorts(PORTS + 1);
  const listenPort = ports[position - 1] ?? 0;
  const line = { delayMs: rttMs / 2 };
  await using camera = new CameraEmulator(components, {
    address: HERE,
    listenPort,
    searchPort,
    deadPorts: ports.filter((port) => port !== listenPort),
    pictures: paddedPictures(),
    faults: { toCamera: line, fromCamera: line },
  });
  await camera.start();
  const options = { ...components, searchPort };
  const samples: Samples = { path: [], login: [] };
  for (let round = 0; round < rounds; round++) {
    const result = await new ParallelConnectionManager(HERE, { ...options, destinationPorts: ports }).connectParallel({
      enableLan: round % 2 === 0,
    });
    if (!result.success) throw new Error(result.error);
    samples.path.push(result.elapsedTime * 1_000);
    await result.session.close();
    const startedAt = components.clock.now();
    await using client = new CameraClient({
      ...components,
      connector: new RaceConnector(components, { target: HERE, searchPort, ports }),
    });
    await client.connectWithRetries();
    samples.login.push(components.clock.now() - startedAt);
  }
  return samples;
}

/** The sequential client, run on a simulated network, where waiting costs no time. */
async function oneAfterTheOther(rttMs: number, position: number): Promise<number> {
  const clock = new VirtualClock();
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(1) });
  const lan = internet.lan({ link: { delayMs: rttMs / 4 } });
  const camera = lan.host({ address: '192.168.1.1' });
  const device = await PpppDevice.open(
    { network: camera.network, clock },
    {
      uid: DEFAULT_UID,
      listenPort: position,
      searchPort: false,
      onSession: (session) => session.attach({ onData: () => {} }),
    },
  );
  const { network } = lan.host();
  await clock.runUntil(sequence(clock, network));
  const elapsedMs = clock.now();
  await clock.runUntil(device.close());
  return elapsedMs;
}

async function sequence(clock: Clock, network: Network): Promise<void> {
  for (let port = 1; port <= PORTS; port++) {
    try {
      const to = { address: '192.168.1.1', port };
      await connectDirect({ network, clock, uid: DEFAULT_UID, to, timeoutMs: OLD_TIMEOUT_MS });
      return;
    } catch {
      // A silent port: this case is measured.
    }
  }
}

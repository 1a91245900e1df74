/**
 * A control server in a process of its own, for measuring: forked with the path of its database (or `nats:ADDRESS`),
 * talks over IPC. Limits are off: one address plays ten thousand.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SystemClock, SystemRandom } from '@towpath/core';
import { ControlServer } from '../../src/http/control-server.ts';
import { NatsStore } from '../../src/store/nats-store.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const where = process.argv[2]!;
const store = where.startsWith('nats:')
  ? await NatsStore.connect(
      { clock, random },
      { servers: where.slice(5).split(','), replicas: Number(process.argv[3] ?? 1) as 1 | 3 },
    )
  : new SqliteStore({ clock }, { path: where });
const freely = { perSecond: 1e7, burst: 1e7 };
const server = await ControlServer.start(
  { store, clock, random },
  {
    limits: { perAddress: freely, perNode: freely, creations: freely },
    messageLimit: freely,
    messageLimitPerAddress: freely,
    founding: 'open',
    partyLimits: {
      membersPerParty: 1e5,
      bytesPerParty: 1e9,
      membersPerFounder: 1e5,
      bytesPerFounder: 1e9,
    },
    connections: { total: 100_000, perAddress: 100_000, unprovenTotal: 100_000, unprovenPerAddress: 100_000 },
    port: Number(process.argv[4] ?? 0),
  },
);

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

process.on('message', (message: string) => {
  if (message === 'memory') {
    collect();
    collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    process.send!({ rss, heapUsed, external, sessions: server.service.counts.sessions });
  }
});
process.send!({ address: server.address });

import type { PathHistorySnapshot, RaceStatisticsSnapshot } from '@towpath/core';
import { z } from 'zod';
import type { RememberedPath } from '../connect/candidates.ts';
import type { CameraMemory, PathMemory } from '../connect/memory.ts';
import type { DeviceRecord, DeviceStore } from './device-store.ts';

/** Stores a connector's data in a device store, so that another process can use it. */
export class StorePathMemory implements PathMemory {
  readonly #store: DeviceStore;

  constructor(store: DeviceStore) {
    this.#store = store;
  }

  async recall(cameraIp: string): Promise<CameraMemory> {
    const record = await this.#store.load(cameraIp);
    const path = pathOf(record);
    const history = historySchema.safeParse(record.pathHistory);
    const statistics = statisticsSchema.safeParse(record.statistics);
    return {
      ...(path === undefined ? {} : { path }),
      ...(history.success ? { history: history.data } : {}),
      ...(statistics.success ? { statistics: statistics.data } : {}),
    };
  }

  remember(cameraIp: string, { path, history, statistics }: CameraMemory): Promise<void> {
    return this.#store.update(cameraIp, {
      ...(path === undefined
        ? {}
        : {
            localPort: path.localPort,
            kind: path.kind,
            endpoint: { address: cameraIp, port: path.destinationPort },
          }),
      ...(history === undefined ? {} : { pathHistory: history }),
      ...(statistics === undefined ? {} : { statistics }),
    });
  }
}

function pathOf({ localPort, endpoint, kind }: DeviceRecord): RememberedPath | undefined {
  if (localPort === undefined || endpoint === undefined) return undefined;
  if (kind !== 'lan' && kind !== 'p2p' && kind !== 'relay') return undefined;
  return { kind, localPort, destinationPort: endpoint.port };
}

/** Most path kinds and codes in a file. */
const MAX_KEYS = 64;
const count = z.number().min(0);

const historySchema: z.ZodType<PathHistorySnapshot> = z
  .record(
    z.string(),
    z.object({
      tries: count,
      wins: count,
      connectMs: count.optional(),
      updatedAt: count,
    }),
  )
  .refine(fewKeys);

const statisticsSchema: z.ZodType<RaceStatisticsSnapshot> = z
  .record(
    z.string(),
    z.object({
      attempts: count,
      wins: count,
      cancelled: count,
      failures: z.record(z.string(), count).refine(fewKeys),
      connectMs: z.object({ counts: z.array(count).max(MAX_KEYS), sum: count }),
    }),
  )
  .refine(fewKeys);

function fewKeys(record: object): boolean {
  return Object.keys(record).length <= MAX_KEYS;
}

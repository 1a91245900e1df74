import type { SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { CameraClient, RaceConnector } from '../src/index.ts';
import { UID, world } from './three-way-world.ts';

/** Loss and jitter change from seed to seed. */
const SEEDS = Number(process.env.TOWPATH_SEEDS ?? 4);

/** Packets between the two homes are lost; those to and from the servers are not. */
function blockDirect(internet: SimulatedInternet): () => void {
  return internet.intercept((packet, next) => {
    if (packet.destination.startsWith('198.51.100.') || packet.source.startsWith('198.51.100.')) next();
  });
}

describe('a camera moves between paths', () => {
  test.each(Array.from({ length: SEEDS }, (_, n) => n + 1))(
    'relay → direct → relay → direct under a running download, byte-exact, without a reconnect, seed %i (A7)',
    async (seed) => {
      const made = await world({
        seed,
        lossRatio: seed % 2 ? 0 : 0.02,
        jitterMs: 3 * (seed % 4),
        emulator: { itemCount: 60, faults: { fromCamera: { bytesPerSecond: 150_000 } } },
      });
      const { clock, random, internet, components, endpoints, emulator, close } = made;
      let unblock: (() => void) | undefined = blockDirect(internet);
      const connector = new RaceConnector(components, { target: UID, servers: endpoints });
      const client = new CameraClient({ clock, random, connector });
      const kinds: string[] = [];
      const lost: string[] = [];
      client.events.on('connected', ({ path, replaced }) => {
        kinds.push(replaced ? path.pathKind : `first ${path.pathKind}`);
        clock.timer(1_000, () => {
          if (path.pathKind === 'relay') {
            unblock?.();
            unblock = undefined;
          } else if (kinds.length < 4) unblock ??= blockDirect(internet);
        });
      });
      client.events.on('lost', ({ message }) => lost.push(message));
      await clock.runUntil(client.connectWithRetries());
      const read = async () => {
        const found = new Map<number, Uint8Array>();
        for await (const { item, data } of client.download(emulator.items)) {
          if (data !== undefined) found.set(item.mediaNum, data);
        }
        return found;
      };
      const moved = await clock.runUntil(read());
      expect(kinds).toEqual(['first relay', 'p2p', 'relay', 'p2p']);
      expect(lost).toEqual([]);
      const still = await clock.runUntil(read());
      expect(moved.size).toBe(60);
      for (const [number, data] of still) expect(Buffer.compare(moved.get(number) ?? data.subarray(1), data)).toBe(0);
      expect(kinds).toHaveLength(4);
      await clock.runUntil(client.close());
      await close();
      expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
    },
  );
});

import { Lab } from '../../test/system/support/lab.ts';
import {
  directExpected,
  hostAt,
  measurePair,
  type PairResult,
  type Place,
  PLACES,
  startCamera,
  startServer,
} from '../../test/system/support/three-way.ts';

export interface Pair {
  client: Place;
  camera: Place;
}

export type PairOutcome = Pair & {
  /** A direct path must be found; else a relay will do. */
  direct: boolean;
  result?: PairResult;
  /** Why there is no result. */
  reason?: string;
  /** Nobody tried: there was no time left. */
  leftOut?: boolean;
};

const CAMERA_ADDRESS = '203.0.113.20';
/** How long a direct path may take to replace a relay, s. */
const SETTLE_S = 6;

/** Measures pairs through the kernel's NATs, those with the same camera in the same lab, until the time is over. */
export async function measurePairs(
  pairs: readonly Pair[],
  forMs: number,
  onOutcome: (outcome: PairOutcome) => void,
): Promise<void> {
  const endsAt = performance.now() + forMs;
  for (const camera of PLACES) {
    const clients = pairs.filter((pair) => pair.camera === camera).map(({ client }) => client);
    if (clients.length > 0) await measureCamera(camera, clients, endsAt, onOutcome);
  }
}

async function measureCamera(
  camera: Place,
  clients: readonly Place[],
  endsAt: number,
  onOutcome: (outcome: PairOutcome) => void,
): Promise<void> {
  const lab = new Lab();
  try {
    await startServer(lab);
    await startCamera(hostAt(lab, camera, 'camera', CAMERA_ADDRESS));
    for (const [at, client] of clients.entries()) {
      const pair = { client, camera, direct: directExpected(client, camera) };
      if (performance.now() > endsAt) {
        onOutcome({ ...pair, leftOut: true });
        continue;
      }
      try {
        const host = hostAt(lab, client, `client${at}`, `203.0.113.${30 + at}`);
        onOutcome({ ...pair, result: await measurePair(host, pair, pair.direct ? SETTLE_S : 0) });
      } catch (error) {
        onOutcome({ ...pair, reason: String(error).split('\n', 1)[0] ?? '' });
      }
    }
  } finally {
    await lab.close();
  }
}

import { Lab } from '../../test/system/support/lab.ts';
import {
  directExpected,
  hostAt,
  measurePair,
  type PairResult,
  type Place,
  startCamera,
  startServer,
} from '../../test/system/support/three-way.ts';

export interface Pair {
  client: Place;
  camera: Place;
  /** Number of clients that the camera has served before. @default none */
  after?: readonly Place[];
}

export type PairOutcome = Pair & {
  /** Whether a direct path is required; otherwise a relay suffices. */
  direct: boolean;
  result?: PairResult;
  /** Why there is no result. */
  reason?: string;
  /** Not tried: no time was left. */
  leftOut?: boolean;
};

const CAMERA_ADDRESS = '203.0.113.20';
/** How long a direct path may take to replace a relay, s. */
const SETTLE_S = 6;

/** Measures pairs through the kernel's NATs, each in a separate lab, until the time is over. */
export async function measurePairs(
  pairs: readonly Pair[],
  forMs: number,
  onOutcome: (outcome: PairOutcome) => void,
): Promise<void> {
  const endsAt = performance.now() + forMs;
  for (const pair of pairs) {
    const known = { ...pair, direct: directExpected(pair.client, pair.camera) };
    if (performance.now() > endsAt) {
      onOutcome({ ...known, leftOut: true });
      continue;
    }
    try {
      onOutcome({ ...known, result: await measure(pair) });
    } catch (error) {
      onOutcome({ ...known, reason: String(error).split('\n', 1)[0] ?? '' });
    }
  }
}

async function measure({ client, camera, after = [] }: Pair): Promise<PairResult> {
  const lab = new Lab();
  try {
    await startServer(lab);
    await startCamera(hostAt(lab, camera, 'camera', CAMERA_ADDRESS));
    const reach = (place: Place, at: number) => {
      const host = hostAt(lab, place, `client${at}`, `203.0.113.${30 + at}`);
      return measurePair(host, { client: place, camera }, directExpected(place, camera) ? SETTLE_S : 0);
    };
    for (const [at, place] of after.entries()) await reach(place, at);
    return await reach(client, after.length);
  } finally {
    await lab.close();
  }
}

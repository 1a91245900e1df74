import { memo } from 'react';
import type { LatencySample } from '../../api/peers.ts';
import { sparkline } from '../lib/sparkline.ts';

const WIDTH = 64;
const HEIGHT = 20;

/** The last minutes of a latency, without axes: whether it is steady. */
export const Sparkline: React.NamedExoticComponent<{ samples: readonly LatencySample[]; tone: string }> = memo(
  function Sparkline({ samples, tone }) {
    const path = sparkline(
      samples.map(({ rttMs }) => rttMs),
      WIDTH,
      HEIGHT,
    );
    return (
      <svg
        className="sparkline"
        data-tone={tone}
        width={WIDTH}
        height={HEIGHT}
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        aria-hidden="true"
      >
        {path && <path d={path} />}
      </svg>
    );
  },
);

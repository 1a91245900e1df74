import { useEffect, useRef, useState } from 'react';
import { routePath } from '../../api/routes.ts';
import { formatMs } from '../lib/format.ts';
import { type LiveDecoder, LivePlayer } from '../lib/live-player.ts';
import type { LiveFigures } from '../lib/live-stats.ts';
import { Icon } from './icons.tsx';

type State =
  | { readonly type: 'connecting' }
  | { readonly type: 'playing'; readonly decoder: LiveDecoder }
  | { readonly type: 'ended'; readonly message: string };

const DECODERS: Record<LiveDecoder, string> = { webcodecs: 'WebCodecs', mediasource: 'Media Source' };

/** The live view of a camera. It lasts until it is closed: a camera uses its battery for it. */
export function LiveView({ camera, onClose }: { camera: string; onClose: () => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const [state, setState] = useState<State>({ type: 'connecting' });
  const [attempt, setAttempt] = useState(0);
  const [figures, setFigures] = useState<LiveFigures | undefined>(undefined);

  // biome-ignore lint/correctness/useExhaustiveDependencies: an attempt is a new player
  useEffect(() => {
    if (canvas.current === null || video.current === null) return;
    setState({ type: 'connecting' });
    const player = new LivePlayer(
      socketUrl(routePath('live', { camera })),
      { canvas: canvas.current, video: video.current },
      {
        onStart: (_start, decoder) => setState({ type: 'playing', decoder }),
        onEnd: (message) => message !== undefined && setState({ type: 'ended', message }),
      },
      forcedDecoder(),
    );
    const timer = setInterval(() => setFigures(player.stats.figures()), 500);
    return () => {
      clearInterval(timer);
      player.close();
    };
  }, [camera, attempt]);

  const decoder = state.type === 'playing' ? state.decoder : undefined;
  return (
    <section className="card live" aria-label="Live view">
      <div className="live-stage">
        <canvas ref={canvas} hidden={decoder !== 'webcodecs'} aria-label={`Live picture of ${camera}`} role="img" />
        <video
          ref={video}
          hidden={decoder !== 'mediasource'}
          muted
          playsInline
          aria-label={`Live picture of ${camera}`}
        />
        {state.type === 'connecting' && <p role="status">Waiting for the first picture</p>}
        {state.type === 'ended' && (
          <div className="live-ended" role="alert">
            <p>{state.message}</p>
            <button type="button" className="button" onClick={() => setAttempt(attempt + 1)}>
              <Icon name="refresh" size={17} />
              Start again
            </button>
          </div>
        )}
      </div>
      <div className="live-bar small">
        <Figures figures={state.type === 'playing' ? figures : undefined} decoder={decoder} />
        <button type="button" className="icon-button" aria-label="Close the live view" onClick={onClose}>
          <Icon name="close" size={18} />
        </button>
      </div>
    </section>
  );
}

function Figures({ figures, decoder }: { figures: LiveFigures | undefined; decoder: LiveDecoder | undefined }) {
  if (figures === undefined || decoder === undefined) return <span className="muted">Live</span>;
  const { delayMs, endToEnd, framesPerSecond, bitsPerSecond } = figures;
  return (
    <dl className="live-figures">
      <div
        title={
          endToEnd
            ? 'From the daemon’s reception until the picture is shown'
            : 'From the arrival in this page until the picture is shown'
        }
      >
        <dt>{endToEnd ? 'Delay' : 'Delay in this page'}</dt>
        <dd>{formatMs(delayMs)}</dd>
      </div>
      <div>
        <dt>Pictures</dt>
        <dd>{framesPerSecond === undefined ? '–' : `${framesPerSecond.toFixed(0)} per s`}</dd>
      </div>
      <div>
        <dt>Rate</dt>
        <dd>{bitsPerSecond === undefined ? '–' : `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`}</dd>
      </div>
      <div className="live-decoder">
        <dt>Decoder</dt>
        <dd>{DECODERS[decoder]}</dd>
      </div>
    </dl>
  );
}

function socketUrl(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  return url.href;
}

/** `?decoder=mediasource` in the address tries the fallback where WebCodecs would be chosen. */
function forcedDecoder(): LiveDecoder | undefined {
  const value = new URLSearchParams(location.search).get('decoder');
  return value === 'webcodecs' || value === 'mediasource' ? value : undefined;
}

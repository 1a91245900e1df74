import { useEffect, useState } from 'react';
import type { Download } from '../../api/cameras.ts';
import { formatBytes, plural } from '../lib/format.ts';
import { usePage, usePart } from '../lib/hooks.ts';
import { Icon } from './icons.tsx';

/** Downloads that are under way, and notices of the daemon. */
export function Toasts() {
  const { session } = usePage();
  const downloads = usePart((state) => state.downloads);
  const notices = usePart((state) => state.notices);
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  // What was over before the page was opened is no news.
  const [running, setRunning] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    const fresh = downloads.filter(({ id, state }) => state === 'running' && !running.has(id));
    if (fresh.length > 0) setRunning(new Set([...running, ...fresh.map(({ id }) => id)]));
  }, [downloads, running]);
  const shown = downloads.filter(({ id }) => running.has(id) && !closed.has(id)).slice(-3);
  return (
    <section className="toasts" aria-label="Notices" aria-live="polite">
      {notices.slice(-3).map(({ id, level, notice }) => (
        <div key={id} className="toast" data-level={level} role={level === 'error' ? 'alert' : undefined}>
          <div className="toast-line">
            <Icon name="warning" size={18} />
            <span>{notice.message}</span>
            <CloseButton onClick={() => session.dispatch({ type: 'dismiss', id })} />
          </div>
        </div>
      ))}
      {shown.map((download) => (
        <DownloadToast
          key={download.id}
          download={download}
          onClose={() => setClosed(new Set([...closed, download.id]))}
        />
      ))}
    </section>
  );
}

function DownloadToast({ download, onClose }: { download: Download; onClose: () => void }) {
  const { session } = usePage();
  const { id, camera, state, done, wanted, bytesPerSecond, problem } = download;
  const cancel = (): void =>
    void session.api.call('cancelDownload', { parts: { download: id } }).catch(() => undefined);
  return (
    <div className="toast">
      <div className="toast-line">
        <span>{titleOf(download)}</span>
        {state === 'running' ? (
          <button type="button" className="button" data-kind="plain" onClick={cancel}>
            Cancel
          </button>
        ) : (
          <CloseButton onClick={onClose} />
        )}
      </div>
      {state === 'running' && (
        <>
          <progress
            className="progress"
            value={done}
            max={Math.max(1, wanted)}
            aria-label={`Download from ${camera}`}
          />
          <span className="muted small">{`${done} of ${wanted}, ${formatBytes(bytesPerSecond)}/s`}</span>
        </>
      )}
      {problem && <span className="muted small">{problem.message}</span>}
    </div>
  );
}

function titleOf({ state, camera, done, failed }: Download): string {
  switch (state) {
    case 'running':
      return `Fetching from ${camera}`;
    case 'done':
      return failed.length === 0
        ? `${plural(done, 'picture')} fetched from ${camera}`
        : `${plural(done, 'picture')} fetched from ${camera}, ${failed.length} could not be had`;
    case 'failed':
      return `Fetching from ${camera} failed`;
    case 'cancelled':
      return `Fetching from ${camera} was cancelled`;
    default:
      return state satisfies never;
  }
}

function CloseButton({ onClick }: { onClick: () => void }) {
  return (
    <button type="button" className="icon-button" aria-label="Dismiss" onClick={onClick}>
      <Icon name="close" size={16} />
    </button>
  );
}

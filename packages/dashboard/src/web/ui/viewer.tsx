import { useEffect, useMemo, useRef, useState } from 'react';
import type { Camera, Download, MediaDay, MediaItem } from '../../api/cameras.ts';
import { dayWords, itemLabel, wallTime } from '../lib/cameras.ts';
import { safeFileName } from '../lib/file-name.ts';
import { formatBytes } from '../lib/format.ts';
import type { GalleryDays } from '../lib/gallery-days.ts';
import { usePage, usePart, useRequest } from '../lib/hooks.ts';
import { neighbours } from '../lib/neighbours.ts';
import { DeleteDialog } from './delete-dialog.tsx';
import { Icon } from './icons.tsx';

/** One picture or video over the whole page. Arrow keys go to the neighbours, Escape closes it. */
export function Viewer({
  camera,
  days,
  items,
  want,
  day,
  media,
  onShow,
  onClose,
}: {
  camera: Camera;
  days: readonly MediaDay[];
  items: GalleryDays;
  want: (days: readonly string[]) => void;
  day: string;
  media: string;
  onShow: (item: MediaItem) => void;
  onClose: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [deleting, setDeleting] = useState(false);
  const around = useMemo(() => neighbours(days, items, day, media), [days, items, day, media]);
  const { item, before, after, missing } = around;
  const wanted = missing.join(' ');
  useEffect(() => {
    if (wanted !== '') want(wanted.split(' '));
  }, [wanted, want]);
  useEffect(() => {
    const { current } = dialog;
    current?.showModal();
    return () => current?.close();
  }, []);
  const go = (to: MediaItem | undefined): void => {
    if (to !== undefined) onShow(to);
  };
  return (
    <dialog
      ref={dialog}
      className="viewer"
      aria-label={item ? itemLabel(item) : 'Picture'}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => {
        // A video uses the arrow keys itself.
        if (deleting || event.target instanceof HTMLVideoElement) return;
        if (event.key === 'ArrowLeft') go(before);
        if (event.key === 'ArrowRight') go(after);
      }}
    >
      <div className="viewer-bar">
        <div className="viewer-title">
          {item && (
            <>
              <strong>{dayWords(item.day)}</strong>
              <span>{wallTime(item.takenAt)}</span>
              <span className="viewer-name">
                {[item.name, item.bytes === null ? undefined : formatBytes(item.bytes)].filter(Boolean).join(', ')}
              </span>
            </>
          )}
        </div>
        {item?.fileUrl && (
          <a
            className="icon-button"
            href={`${item.fileUrl}?download`}
            download={safeFileName(fileName(camera, item))}
            aria-label="Save the file"
          >
            <Icon name="download" />
          </a>
        )}
        {item && (
          <button type="button" className="icon-button" aria-label="Delete" onClick={() => setDeleting(true)}>
            <Icon name="trash" />
          </button>
        )}
        <button type="button" className="icon-button" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      <div className="viewer-stage">
        <button
          type="button"
          className="viewer-step"
          aria-label="Newer"
          disabled={before === undefined}
          onClick={() => go(before)}
        >
          <Icon name="back" size={26} />
        </button>
        {item === undefined ? (
          <p className="viewer-note" role="status">
            {around.read ? 'This picture is not there any more.' : 'Loading'}
          </p>
        ) : item.fileUrl === null ? (
          <OnCard camera={camera} item={item} />
        ) : item.kind === 'video' ? (
          // biome-ignore lint/a11y/useMediaCaption: cameras record no speech to be captioned
          <video
            key={item.id}
            className="viewer-picture"
            src={item.fileUrl}
            poster={item.thumbnailUrl}
            controls
            autoPlay
            playsInline
          />
        ) : (
          <FullPicture key={item.id} item={item} />
        )}
        <button
          type="button"
          className="viewer-step"
          aria-label="Older"
          disabled={after === undefined}
          onClick={() => go(after)}
        >
          <Icon name="next" size={26} />
        </button>
      </div>
      {after?.fileUrl && after.kind === 'photo' && <link rel="prefetch" as="image" href={after.fileUrl} />}
      {deleting && item && (
        <DeleteDialog
          camera={camera}
          items={[item]}
          onClose={() => setDeleting(false)}
          onDeleted={() => {
            setDeleting(false);
            const next = after ?? before;
            if (next === undefined) onClose();
            else onShow(next);
          }}
        />
      )}
    </dialog>
  );
}

/** The thumbnail at once, and the picture over it when it has come. */
function FullPicture({ item }: { item: MediaItem }) {
  const [state, setState] = useState<'loading' | 'shown' | 'failed'>('loading');
  return (
    <div className="viewer-picture viewer-photo">
      {state !== 'shown' && <img className="viewer-thumb" src={item.thumbnailUrl} alt="" />}
      <img
        className="viewer-full"
        data-state={state}
        src={item.fileUrl ?? undefined}
        alt={itemLabel(item)}
        onLoad={() => setState('shown')}
        onError={() => setState('failed')}
      />
      {state === 'failed' && (
        <p className="viewer-note">The file could not be read. It may have been deleted on disk.</p>
      )}
    </div>
  );
}

function OnCard({ camera, item }: { camera: Camera; item: MediaItem }) {
  const { session } = usePage();
  const request = useRequest();
  const [mine, setMine] = useState<string | undefined>(undefined);
  const download = usePart((state) => state.downloads.find(({ id }) => id === mine));
  const running = download?.state === 'running';
  const fetchIt = async (): Promise<void> => {
    const started = await session.api.call<Download>('createDownload', {
      parts: { camera: camera.name },
      body: { items: [item.id] },
    });
    session.dispatch({ type: 'events', events: [{ type: 'download', download: started }], atMs: Date.now() });
    setMine(started.id);
  };
  return (
    <div className="viewer-picture viewer-photo">
      <img className="viewer-thumb" src={item.thumbnailUrl} alt={itemLabel(item)} />
      <div className="viewer-fetch">
        <p>The file is still on the camera’s card.</p>
        {(request.error ?? download?.problem?.message) && (
          <p role="alert">{request.error ?? download?.problem?.message}</p>
        )}
        <button
          type="button"
          className="button"
          data-kind="primary"
          disabled={request.busy || running || camera.state !== 'connected'}
          onClick={() => request.run(fetchIt)}
        >
          <Icon name="download" size={17} />
          {running ? 'Fetching' : camera.state === 'connected' ? 'Fetch it' : 'The camera is not connected'}
        </button>
      </div>
    </div>
  );
}

function fileName(camera: Camera, item: MediaItem): string {
  const time = item.takenAt?.slice(0, 19).replaceAll(/[-:]/g, '') ?? '';
  const extension = item.kind === 'video' ? 'mp4' : 'jpg';
  return `${[camera.name, time, item.name.replaceAll('/', '_')].filter(Boolean).join('_')}.${extension}`;
}

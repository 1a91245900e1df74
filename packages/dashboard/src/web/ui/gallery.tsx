import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { memo, useCallback, useEffect, useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import type { Camera, MediaDay, MediaItem } from '../../api/cameras.ts';
import { dayWords, lengthWords, wallTime } from '../lib/cameras.ts';
import { plural } from '../lib/format.ts';
import { type GalleryRow, galleryColumns, galleryRows } from '../lib/gallery-days.ts';
import { usePageTop, useWidth } from '../lib/hooks.ts';
import { cameraPath } from '../lib/state.ts';
import { useGallery } from '../lib/use-gallery.ts';
import { DeleteDialog } from './delete-dialog.tsx';
import { Icon } from './icons.tsx';
import { Card, EmptyState, FailedState, Skeleton } from './parts.tsx';
import { Viewer } from './viewer.tsx';

const GAP_PX = 6;
const IDEAL_PX = 196;
const HEADING_PX = 58;
/** Thumbnails are 16:9. */
const RATIO = 9 / 16;

export function Gallery({ camera, open }: { camera: Camera; open: { day: string; media: string } | undefined }) {
  const gallery = useGallery(camera.name);
  const [, navigate] = useLocation();
  const [selecting, setSelecting] = useState(false);
  const [selected, setSelected] = useState<ReadonlyMap<string, MediaItem>>(new Map());
  const [deleting, setDeleting] = useState(false);
  const [holder, width] = useWidth<HTMLDivElement>();
  const { days, items, want } = gallery;
  const known = days.state === 'ready' ? days.value : undefined;
  const total = useMemo(() => (known ?? []).reduce((sum, { photos, videos }) => sum + photos + videos, 0), [known]);

  const press = useCallback(
    (item: MediaItem): void => {
      if (!selecting) {
        navigate(`${cameraPath(camera.name)}/${encodeURIComponent(item.day)}/${encodeURIComponent(item.id)}`);
        return;
      }
      setSelected((before) => {
        const next = new Map(before);
        if (!next.delete(item.id)) next.set(item.id, item);
        return next;
      });
    },
    [selecting, navigate, camera.name],
  );
  const endSelection = (): void => {
    setSelecting(false);
    setSelected(new Map());
  };

  return (
    <section aria-label="Pictures">
      <div className="gallery-head">
        <h2>{known === undefined ? 'Pictures' : plural(total, 'picture')}</h2>
        {total > 0 && (
          <div className="actions">
            {selecting && (
              <button
                type="button"
                className="button"
                data-kind="bad"
                disabled={selected.size === 0}
                onClick={() => setDeleting(true)}
              >
                <Icon name="trash" size={17} />
                {selected.size === 0 ? 'Delete' : `Delete ${selected.size}`}
              </button>
            )}
            <button type="button" className="button" onClick={() => (selecting ? endSelection() : setSelecting(true))}>
              {selecting ? 'Done' : 'Select'}
            </button>
          </div>
        )}
      </div>
      <div ref={holder}>
        {days.state === 'loading' && <Skeleton lines={4} />}
        {days.state === 'failed' && (
          <Card>
            <FailedState error={days.error} again={gallery.again} />
          </Card>
        )}
        {known !== undefined && total === 0 && (
          <Card>
            <EmptyState icon="camera" title="No pictures yet">
              {camera.pictures.checkedAt === null
                ? 'The card was not read yet. Pictures appear here when the camera is connected.'
                : 'The card is empty. New pictures appear here by themselves.'}
            </EmptyState>
          </Card>
        )}
        {known !== undefined && total > 0 && width > 0 && (
          <Rows
            days={known}
            items={items}
            want={want}
            width={width}
            selecting={selecting}
            selected={selected}
            press={press}
          />
        )}
      </div>
      {open && known && (
        <Viewer
          camera={camera}
          days={known}
          items={items}
          want={want}
          day={open.day}
          media={open.media}
          onShow={(item) =>
            navigate(`${cameraPath(camera.name)}/${encodeURIComponent(item.day)}/${encodeURIComponent(item.id)}`, {
              replace: true,
            })
          }
          onClose={() => navigate(cameraPath(camera.name))}
        />
      )}
      {deleting && (
        <DeleteDialog
          camera={camera}
          items={[...selected.values()]}
          onClose={() => setDeleting(false)}
          onDeleted={() => {
            setDeleting(false);
            endSelection();
          }}
        />
      )}
    </section>
  );
}

type GalleryState = ReturnType<typeof useGallery>;

function Rows({
  days,
  items,
  want,
  width,
  selecting,
  selected,
  press,
}: {
  days: Parameters<typeof galleryRows>[0];
  items: GalleryState['items'];
  want: GalleryState['want'];
  width: number;
  selecting: boolean;
  selected: ReadonlyMap<string, MediaItem>;
  press: (item: MediaItem) => void;
}) {
  const { columns, tilePx } = galleryColumns(width, GAP_PX, width < 500 ? 124 : IDEAL_PX);
  const rows = useMemo(() => galleryRows(days, columns), [days, columns]);
  const rowPx = Math.round(tilePx * RATIO) + GAP_PX;
  const [list, top] = usePageTop<HTMLDivElement>();
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: (index) => (rows[index]?.type === 'day' ? HEADING_PX : rowPx),
    overscan: 4,
    scrollMargin: top,
    getItemKey: (index) => rows[index]?.key ?? index,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the sizes follow from the width
  useEffect(() => virtual.measure(), [rowPx, rows]);
  const visible = virtual.getVirtualItems();
  const visibleDays = [...new Set(visible.flatMap(({ index }) => dayOf(rows[index])))].join(' ');
  // biome-ignore lint/correctness/useExhaustiveDependencies: days that were read again are wanted again
  useEffect(() => {
    if (visibleDays !== '') want(visibleDays.split(' '));
  }, [visibleDays, want, items]);
  return (
    <div ref={list} className="gallery" style={{ height: virtual.getTotalSize() }}>
      {visible.map(({ index, key, start }) => {
        const row = rows[index]!;
        return row.type === 'day' ? (
          <Heading key={key} day={row.day} topPx={start - top} />
        ) : (
          <Pictures
            key={key}
            row={row}
            items={items.get(row.day)}
            columns={columns}
            topPx={start - top}
            heightPx={rowPx - GAP_PX}
            selecting={selecting}
            selected={selected}
            press={press}
          />
        );
      })}
    </div>
  );
}

const Heading = memo(function Heading({ day: { day, photos, videos }, topPx }: { day: MediaDay; topPx: number }) {
  return (
    <h3 className="gallery-day" style={{ top: topPx, height: HEADING_PX }}>
      {dayWords(day)}
      <span className="muted">
        {[photos > 0 && plural(photos, 'photo'), videos > 0 && plural(videos, 'video')].filter(Boolean).join(', ')}
      </span>
    </h3>
  );
});

/** Drawn once while the page is scrolled: only rows that come into view are new. */
const Pictures = memo(function Pictures({
  row: { from, count },
  items,
  columns,
  topPx,
  heightPx,
  selecting,
  selected,
  press,
}: {
  row: Extract<GalleryRow, { type: 'pictures' }>;
  items: readonly MediaItem[] | undefined;
  columns: number;
  topPx: number;
  heightPx: number;
  selecting: boolean;
  selected: ReadonlyMap<string, MediaItem>;
  press: (item: MediaItem) => void;
}) {
  return (
    <div
      className="gallery-row"
      style={{
        top: topPx,
        gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`,
        gap: GAP_PX,
        height: heightPx,
      }}
    >
      {Array.from({ length: count }, (_one, offset) => {
        const item = items?.[from + offset];
        return item === undefined ? (
          // biome-ignore lint/suspicious/noArrayIndexKey: a place for a picture that is not known yet
          <span key={offset} className="tile tile-empty" />
        ) : (
          <Tile key={item.id} item={item} selecting={selecting} selected={selected.has(item.id)} press={press} />
        );
      })}
    </div>
  );
});

function dayOf(row: GalleryRow | undefined): string[] {
  if (row === undefined) return [];
  return [row.type === 'day' ? row.day.day : row.day];
}

const Tile = memo(function Tile({
  item,
  selecting,
  selected,
  press,
}: {
  item: MediaItem;
  selecting: boolean;
  selected: boolean;
  press: (item: MediaItem) => void;
}) {
  const [failed, setFailed] = useState(false);
  return (
    <button
      type="button"
      className="tile"
      {...(selecting ? { 'aria-pressed': selected } : {})}
      data-saved={item.saved}
      onClick={() => press(item)}
    >
      {failed ? (
        <span className="tile-none">
          <Icon name={item.kind === 'video' ? 'video' : 'camera'} size={24} />
        </span>
      ) : (
        <img
          src={item.thumbnailUrl}
          alt=""
          loading="lazy"
          decoding="async"
          draggable={false}
          onError={() => setFailed(true)}
        />
      )}
      <span className="visually-hidden">{`${item.kind === 'video' ? 'Video' : 'Photo'} ${item.name} `}</span>
      <span className="tile-time">{wallTime(item.takenAt)}</span>
      {item.kind === 'video' && (
        <span className="tile-kind">
          <Icon name="play" size={13} />
          {lengthWords(item.durationMs)}
        </span>
      )}
      {!item.saved && <span className="tile-card">on card</span>}
      {selecting && (
        <span className="tile-check" data-on={selected}>
          {selected && <Icon name="check" size={15} />}
        </span>
      )}
    </button>
  );
});

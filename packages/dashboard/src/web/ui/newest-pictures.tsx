import type { MediaList } from '../../api/cameras.ts';
import { useLoaded, usePage } from '../lib/hooks.ts';
import { Icon } from './icons.tsx';

const SHOWN = 5;

/** The newest pictures of a camera, the first one large. `version` changes when there are newer ones. */
export function NewestPictures({ camera, version }: { camera: string; version: string | null }) {
  const { session } = usePage();
  const { loaded } = useLoaded(`newest/${camera}/${version}`, (signal) =>
    session.api.call<MediaList>('media', { parts: { camera }, query: { limit: SHOWN }, signal }),
  );
  const items = loaded.state === 'ready' ? loaded.value.items.slice(0, SHOWN) : [];
  if (loaded.state !== 'loading' && items.length === 0) {
    return (
      <span className="newest newest-none">
        <Icon name="camera" size={30} />
      </span>
    );
  }
  return (
    <span className="newest">
      {Array.from({ length: SHOWN }, (_one, index) => {
        const item = items[index];
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: the places are fixed, only their pictures change
          <span key={index}>{item && <img src={item.thumbnailUrl} alt="" decoding="async" draggable={false} />}</span>
        );
      })}
    </span>
  );
}

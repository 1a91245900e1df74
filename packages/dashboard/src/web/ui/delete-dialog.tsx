import { useId, useState } from 'react';
import type { Camera, DeletedMedia, DeleteMedia, MediaItem } from '../../api/cameras.ts';
import { plural } from '../lib/format.ts';
import { usePage } from '../lib/hooks.ts';
import { RemovalDialog } from './confirm-dialog.tsx';

/** Largest number of items of one request. */
const MAX_ITEMS = 1_000;

/** Asks where pictures are deleted, and says what would be lost. */
export function DeleteDialog({
  camera,
  items,
  onClose,
  onDeleted,
}: {
  camera: Camera;
  items: readonly MediaItem[];
  onClose: () => void;
  onDeleted: () => void;
}) {
  const { session } = usePage();
  const [from, setFrom] = useState<DeleteMedia['from']>('card');
  const [evenUnsaved, setEvenUnsaved] = useState(false);
  const group = useId();
  const unsaved = items.filter(({ saved }) => !saved).length;
  const losing = from === 'card' ? unsaved : from === 'both' ? items.length : 0;
  const remove = async (): Promise<void> => {
    const failures: string[] = [];
    for (let at = 0; at < items.length; at += MAX_ITEMS) {
      const body: DeleteMedia = {
        items: items.slice(at, at + MAX_ITEMS).map(({ id }) => id),
        from,
        ...(evenUnsaved ? { evenUnsaved } : {}),
        confirm: camera.name,
      };
      const { failed } = await session.api.call<DeletedMedia>('deleteMedia', { parts: { camera: camera.name }, body });
      failures.push(...failed.map(({ problem }) => problem.message));
    }
    if (failures.length > 0)
      throw new Error(`${plural(failures.length, 'picture')} could not be deleted. ${failures[0]}`);
    onDeleted();
  };
  const places = [
    ['card', 'On the camera’s card', 'Files that are saved here stay.'],
    ['disk', 'On this machine', 'What is on the card stays on the card.'],
    ['both', 'In both places', 'Nothing of them is left.'],
  ] as const;
  return (
    <RemovalDialog
      title={`Delete ${plural(items.length, 'picture')} of ${camera.name}?`}
      action={{ label: 'Delete', busy: 'Deleting' }}
      cancel="Cancel"
      disabled={losing === items.length && from === 'card' && !evenUnsaved}
      onConfirm={remove}
      onClose={onClose}
    >
      <fieldset className="choices">
        <legend className="visually-hidden">Where</legend>
        {places.map(([value, label, note]) => (
          <label key={value} className="choice">
            <input type="radio" name={group} checked={from === value} onChange={() => setFrom(value)} />
            <span>
              {label}
              <span className="muted small block">{note}</span>
            </span>
          </label>
        ))}
      </fieldset>
      {from !== 'disk' && unsaved > 0 && (
        <label className="choice choice-bad">
          <input type="checkbox" checked={evenUnsaved} onChange={(event) => setEvenUnsaved(event.target.checked)} />
          <span>{`Also the ${unsaved === 1 ? 'one that is' : `${unsaved} that are`} not saved here. They cannot be brought back.`}</span>
        </label>
      )}
    </RemovalDialog>
  );
}

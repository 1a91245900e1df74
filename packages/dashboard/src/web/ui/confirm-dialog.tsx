import type { ReactNode } from 'react';
import { useRequest } from '../lib/hooks.ts';
import { Dialog, ErrorLine } from './parts.tsx';

/** Asks before something is removed, and stays open with the error when that fails. */
export function ConfirmDialog({
  title,
  action,
  onConfirm,
  onClose,
  children,
}: {
  title: string;
  /** Label of the button that removes. */
  action: string;
  onConfirm: () => Promise<void>;
  onClose: () => void;
  children: ReactNode;
}) {
  const request = useRequest();
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{children}</p>
      {request.error && <ErrorLine>{request.error}</ErrorLine>}
      <div className="actions">
        <button type="button" className="button" onClick={onClose}>
          Keep
        </button>
        <button
          type="button"
          className="button"
          data-kind="bad-solid"
          disabled={request.busy}
          onClick={() => request.run(onConfirm)}
        >
          {action}
        </button>
      </div>
    </Dialog>
  );
}

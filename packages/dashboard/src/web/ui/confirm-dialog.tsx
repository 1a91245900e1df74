import type { ReactNode } from 'react';
import { useRequest } from '../lib/hooks.ts';
import { Dialog, ErrorLine } from './parts.tsx';

/** A dialog that removes something, and stays open with the error when that fails. */
export function RemovalDialog({
  title,
  action,
  cancel,
  disabled = false,
  onConfirm,
  onClose,
  children,
}: {
  title: string;
  /** Label of the button that removes; `busy` while it does. */
  action: { label: string; busy?: string };
  /** Label of the button that does not. */
  cancel: string;
  disabled?: boolean;
  onConfirm: () => Promise<void>;
  onClose: () => void;
  children: ReactNode;
}) {
  const request = useRequest();
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {request.error && <ErrorLine>{request.error}</ErrorLine>}
      <div className="actions">
        <button type="button" className="button" onClick={onClose}>
          {cancel}
        </button>
        <button
          type="button"
          className="button"
          data-kind="bad-solid"
          disabled={request.busy || disabled}
          onClick={() => request.run(onConfirm)}
        >
          {(request.busy && action.busy) || action.label}
        </button>
      </div>
    </Dialog>
  );
}

/** Asks before something is removed. */
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
  return (
    <RemovalDialog title={title} action={{ label: action }} cancel="Keep" onConfirm={onConfirm} onClose={onClose}>
      <p>{children}</p>
    </RemovalDialog>
  );
}

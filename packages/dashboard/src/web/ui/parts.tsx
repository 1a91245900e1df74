import { type ReactNode, useEffect, useId, useRef } from 'react';
import type { ApiError } from '../lib/api.ts';
import type { Tone } from '../lib/peers.ts';
import { Icon, type IconName } from './icons.tsx';

export function PageHead({
  title,
  sub,
  back,
  actions,
  badge,
}: {
  title: string;
  sub?: ReactNode;
  back?: { href: string; label: string };
  actions?: ReactNode;
  badge?: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Towpath`;
  }, [title]);
  return (
    <header className="page-head">
      <div>
        {back && (
          <a className="back" href={`#${back.href}`}>
            <Icon name="back" size={15} />
            {back.label}
          </a>
        )}
        <div className="title-row">
          <h1>{title}</h1>
          {badge}
        </div>
        {sub && <p>{sub}</p>}
      </div>
      {actions && <div className="actions">{actions}</div>}
    </header>
  );
}

export function Card({
  title,
  aside,
  flush,
  children,
  className,
}: {
  title?: string;
  aside?: ReactNode;
  flush?: boolean;
  children: ReactNode;
  className?: string;
}) {
  const id = useId();
  return (
    <section className={`card ${className ?? ''}`} {...(title ? { 'aria-labelledby': id } : {})}>
      {title && (
        <div className="card-head">
          <h2 id={id}>{title}</h2>
          {aside && <div className="muted small">{aside}</div>}
        </div>
      )}
      <div className={flush ? 'card-body flush' : 'card-body'}>{children}</div>
    </section>
  );
}

export function Dot({ tone }: { tone: Tone }) {
  return <span className="dot" data-tone={tone} aria-hidden="true" />;
}

export function Badge({ tone, children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className="badge" data-tone={tone}>
      {children}
    </span>
  );
}

export function Facts({ rows }: { rows: readonly (readonly [string, ReactNode] | undefined)[] }) {
  return (
    <dl className="facts">
      {rows.map(
        (row) =>
          row && (
            <div key={row[0]} className="fact">
              <dt>{row[0]}</dt>
              <dd>{row[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

export function Figure({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div>
      <div className="figure-label">{label}</div>
      <div className="figure-value">{children}</div>
    </div>
  );
}

export function EmptyState({
  icon,
  title,
  children,
  actions,
}: {
  icon: IconName;
  title: string;
  children: ReactNode;
  actions?: ReactNode;
}) {
  return (
    <div className="state">
      <Icon name={icon} size={34} />
      <h2>{title}</h2>
      <p>{children}</p>
      {actions && <div className="actions">{actions}</div>}
    </div>
  );
}

export function FailedState({ error, again }: { error: ApiError; again: () => void }) {
  return (
    <div role="alert">
      <EmptyState
        icon={error.code === 'offline' ? 'offline' : 'warning'}
        title={error.code === 'offline' ? 'The daemon does not answer' : 'This could not be read'}
        actions={
          <button type="button" className="button" onClick={again}>
            <Icon name="refresh" size={17} />
            Try again
          </button>
        }
      >
        {error.message}
      </EmptyState>
    </div>
  );
}

/** Grey lines in the shape of what comes. */
export function Skeleton({ lines = 3 }: { lines?: number }) {
  return (
    <div className="stack" aria-busy="true">
      <span className="visually-hidden" role="status">
        Loading
      </span>
      {Array.from({ length: lines }, (_one, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines are all alike
        <span key={index} className="skeleton" style={{ width: `${88 - ((index * 23) % 48)}%` }} />
      ))}
    </div>
  );
}

export function Segments<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out as one line in every browser
    <div className="segments" role="group" aria-label={label}>
      {options.map(([option, text]) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => onChange(option)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** A dialog over the page. The browser keeps the focus inside, and Escape closes it. */
export function Dialog({
  title,
  onClose,
  children,
  className = 'dialog',
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
  className?: string;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const { current } = dialog;
    current?.showModal();
    return () => current?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={className}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

export function ErrorLine({ children }: { children: ReactNode }) {
  return (
    <p className="error-line" role="alert">
      {children}
    </p>
  );
}

/** A share of a whole. */
export function Meter({ ratio, label, tone }: { ratio: number; label: string; tone?: Tone }) {
  const percent = Math.round(Math.min(1, Math.max(0, ratio)) * 100);
  return (
    // biome-ignore lint/a11y/useSemanticElements: the browsers' own meter cannot be styled alike
    <div
      className="meter"
      data-tone={tone}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
    >
      <span style={{ width: `${percent}%` }} />
    </div>
  );
}

/** What is wider than a phone scrolls in a box of its own, by the keyboard too. */
export function ScrollBox({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys scroll only what has the focus
    <section className="table-scroll" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}

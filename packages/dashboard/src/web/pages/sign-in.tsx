import { useEffect, useState } from 'react';
import { tokenOf } from '../lib/token.ts';
import { Icon, Mark } from '../ui/icons.tsx';

/** Shown while the page may not talk to the daemon, or cannot. */
export function Gate({
  children,
  title,
  icon,
}: {
  children: React.ReactNode;
  title: string;
  icon?: 'key' | 'offline';
}) {
  useEffect(() => {
    document.title = `${title} · Towpath`;
  }, [title]);
  return (
    <main className="gate">
      <div className="gate-body">
        <span className="gate-mark">{icon ? <Icon name={icon} size={28} /> : <Mark size={30} />}</span>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}

export function SignIn({ message, onToken }: { message: string | undefined; onToken: (token: string) => void }) {
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState(false);
  return (
    <Gate title="Open with a link" icon="key">
      <p>
        The daemon prints a link that opens this page: run <code>towpath dashboard</code>, or paste the link or its
        token here.
      </p>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          const token = tokenOf(text);
          setWrong(token === undefined);
          if (token !== undefined) onToken(token);
        }}
      >
        <label className="field">
          <span>Link or token</span>
          <input
            className="input mono"
            type="password"
            autoComplete="off"
            spellCheck={false}
            aria-invalid={wrong}
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </label>
        {(wrong || message) && (
          <p className="error-line" role="alert">
            {wrong ? 'This is no link of the daemon, and no token.' : message}
          </p>
        )}
        <div>
          <button type="submit" className="button" data-kind="primary">
            Open
          </button>
        </div>
      </form>
    </Gate>
  );
}

export function Unreachable({ message, onAgain }: { message: string; onAgain: () => void }) {
  return (
    <Gate title="The daemon does not answer" icon="offline">
      <p role="alert">{message}</p>
      <div>
        <button type="button" className="button" data-kind="primary" onClick={onAgain}>
          Try again
        </button>
      </div>
    </Gate>
  );
}

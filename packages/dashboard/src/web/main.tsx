import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import type { Socket } from './lib/event-stream.ts';
import { Session } from './lib/session.ts';
import { restoreTheme } from './lib/theme.ts';
import { takeToken } from './lib/token.ts';
import './style/tokens.css';
import './style/base.css';
import './style/components.css';
import './style/pages.css';

restoreTheme();
const session = new Session({
  fetch: (url, init) => fetch(url, init),
  openSocket: (path) => {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return new WebSocket(url) as unknown as Socket;
  },
  requestFrame: (callback) => requestAnimationFrame(callback),
  schedule: (callback, delayMs) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  now: Date.now,
});
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') session.wake();
});
window.addEventListener('online', () => session.wake());
// Another link of the daemon, opened in this tab.
window.addEventListener('hashchange', () => {
  const token = takeToken(window);
  if (token !== undefined) void session.start(token);
});

const root = document.getElementById('root');
if (root !== null) createRoot(root).render(<App session={session} />);
void session.start(takeToken(window));

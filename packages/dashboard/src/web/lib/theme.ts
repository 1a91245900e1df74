import { useEffect, useState, useSyncExternalStore } from 'react';
import { Store } from './store.ts';

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'towpath.theme';
const chosen = new Store<Theme>(stored());

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'auto';
  } catch {
    return 'auto';
  }
}

export function applyTheme(theme: Theme): void {
  chosen.set(theme);
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Without storage the choice lasts until the page is closed.
  }
}

/** Applies what was chosen on an earlier visit. */
export function restoreTheme(): void {
  if (chosen.get() !== 'auto') applyTheme(chosen.get());
}

/** The chosen theme, and the one that is shown. */
export function useTheme(): { readonly theme: Theme; readonly shown: 'light' | 'dark' } {
  const theme = useSyncExternalStore(chosen.subscribe, chosen.get);
  const [systemDark, setSystemDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)');
    const follow = (): void => setSystemDark(query.matches);
    query.addEventListener('change', follow);
    return () => query.removeEventListener('change', follow);
  }, []);
  return { theme, shown: theme === 'auto' ? (systemDark ? 'dark' : 'light') : theme };
}

import { homedir, userInfo } from 'node:os';
import { isAbsolute, join } from 'node:path';

/**
 * `$TOWPATH_HOME`, else `$XDG_CONFIG_HOME/towpath`, else `~/.config/towpath`; undefined for a user without a home folder. A path
 * that is not absolute, such as an empty HOME, is none: the keys would lie wherever a command is run.
 */
export function configFolder(env: Readonly<Record<string, string | undefined>>): string | undefined {
  if (env.TOWPATH_HOME) return env.TOWPATH_HOME;
  if (isAbsolute(env.XDG_CONFIG_HOME ?? '')) return join(env.XDG_CONFIG_HOME ?? '', 'towpath');
  const home = [homedir, () => userInfo().homedir].map(orNothing).find(isAbsolute);
  return home === undefined ? undefined : join(home, '.config', 'towpath');
}

/** The system throws for a user that it does not know. */
function orNothing(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$TOWPATH_HOME`, else `$XDG_CONFIG_HOME/towpath`, else `~/.config/towpath`. */
export function configFolder(env: Readonly<Record<string, string | undefined>>): string {
  if (env.TOWPATH_HOME) return env.TOWPATH_HOME;
  return join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'towpath');
}

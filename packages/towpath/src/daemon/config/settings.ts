/** A setting that the file, the environment and the command line can give, in this order of strength. */
export interface Setting {
  /** In the file: `api.port`. */
  readonly key: string;
  readonly env: string;
  readonly flag: string;
  readonly value: string;
  readonly byDefault: string;
  readonly description: string;
}

/** One list for the file, the environment, `towpath config show`, the help and the manual. */
export const SETTINGS: readonly Setting[] = [
  setting('api.http', 'true|false', 'true', 'serve the page and the API on 127.0.0.1; the Unix socket is always there'),
  setting('api.port', 'PORT', '4180', 'TCP port of the page and the API; 0: chosen by the system'),
  setting('log.level', 'debug|info|warn|error', 'info', 'what the log contains'),
  setting('log.format', 'text|json', 'text', 'form of the log on standard error'),
  setting('pictures.folder', 'FOLDER', 'pictures in the state folder', 'where the pictures of cameras are kept'),
  setting('pictures.keep', 'KEEP', 'forever', 'how long and how much: 90 days, 20 GB, or both as "90 days | 20 GB"'),
  setting(
    'pictures.delete-from-card',
    'never|when-safe',
    'never',
    'when-safe: delete from the card what is on disk, complete and synced',
  ),
  setting('pictures.check-every', 'TIME', '60 s', 'interval at which the card of a camera is checked'),
  setting('pictures.reserve', 'SIZE', '500 MB', 'space that is left free on the disk: nothing is fetched below it'),
];

function setting(key: string, value: string, byDefault: string, description: string): Setting {
  const words = key.replaceAll('.', '-');
  return {
    key,
    env: `TOWPATH_${words.replaceAll('-', '_').toUpperCase()}`,
    flag: `--${words}`,
    value,
    byDefault,
    description,
  };
}

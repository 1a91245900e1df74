export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, unknown>>;

/** One log line before it is written anywhere. */
export interface LogRecord {
  level: LogLevel;
  /** Source of a record: `CONNECT`, `P2P`, `LAN`, `RELAY`, `PPPP`, … */
  scope: string;
  message: string;
  fields: LogFields;
}

/** A structured logger for one scope. Secrets never go into `fields` or messages. */
export interface Log {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same destination under another scope; `fields` are added to every line. */
  child(scope: string, fields?: LogFields): Log;
}

/** A logger that hands every record to `sink`. What `sink` throws is dropped: a full disk must not end a connection. */
export function createLog(sink: (record: LogRecord) => void, scope = 'TOWPATH', inherited: LogFields = {}): Log {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    try {
      sink({ level, scope, message, fields: { ...inherited, ...fields } });
    } catch {
      // There is nowhere left to report it.
    }
  };
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (childScope, fields) => createLog(sink, childScope, { ...inherited, ...fields }),
  };
}

const silent = () => {};

/** The library's default: discards everything. */
export const silentLog: Log = {
  trace: silent,
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
  child: () => silentLog,
};

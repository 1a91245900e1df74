import { rmSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { gzipSync } from 'node:zlib';
import { errorCode, errorMessage, TowpathError } from '@towpath/core';
import { routePath } from '@towpath/dashboard/routes';
import { examineMachine, SystemCommands } from '@towpath/mesh';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { formatBytes, wrap } from '../../cli/table.ts';
import { VERSION } from '../../cli/version.ts';
import { notWritten, readPrivateFile } from '../../config/private-file.ts';
import { askDaemonText } from '../../daemon/api/api-client.ts';
import { tokenPath } from '../../daemon/api/token.ts';
import { configPath } from '../../daemon/config/config-file.ts';
import { logPath } from '../../daemon/log/file-log.ts';
import { stateFolderOf } from '../mesh/mesh-node.ts';
import { Redaction } from './redact.ts';
import { tar } from './tar.ts';
import { printJson } from '../../cli/json-output.ts';

interface BugreportOptions extends CommonOptions {
  output?: string;
}

/** How much of the end of the log goes in. */
const LOG_CHARACTERS = 2_000_000;

/** Writes the archive. A part that cannot be had is replaced by the reason. @throws TowpathError `disk-failed`. */
export async function bugreport(runtime: Runtime, options: BugreportOptions): Promise<void> {
  const { io, clock, configFolder, signal } = runtime;
  const at = new Date(clock.wallTime()).toISOString();
  const output = options.output ?? `towpath-bugreport-${at.slice(0, 19).replaceAll(':', '')}.tar.gz`;
  const redaction = new Redaction([readPrivateFile(tokenPath(configFolder))?.trim() ?? '']);
  // A daemon that hangs is asked once, and not for every part.
  let hangs: unknown;
  const fromDaemon = async (path: string) => {
    if (hangs !== undefined) throw hangs;
    try {
      return await askDaemonText(runtime, path);
    } catch (error) {
      if (errorCode(error) === 'not-answering') hangs = error;
      throw error;
    }
  };
  const jsonFromDaemon = async (path: string) => JSON.stringify(JSON.parse(await fromDaemon(path)), undefined, 2);
  const parts: Readonly<Record<string, () => Promise<string> | string>> = {
    'versions.json': () => JSON.stringify(versions(), undefined, 2),
    'config.yaml': () => readPrivateFile(configPath(runtime)) ?? '(no configuration file)',
    'status.json': () => jsonFromDaemon(routePath('status')),
    'netcheck.json': () => jsonFromDaemon(routePath('netcheck')),
    'metrics.txt': () => fromDaemon(routePath('metrics')),
    'doctor.json': async () => {
      const components = { commands: new SystemCommands() };
      const findings = await examineMachine(components, { stateFolder: stateFolderOf(runtime), signal });
      return JSON.stringify(findings, undefined, 2);
    },
    'towpath.log': () => (readPrivateFile(logPath(configFolder)) ?? '(no log)').slice(-LOG_CHARACTERS),
    'towpath.log.1': () => (readPrivateFile(`${logPath(configFolder)}.1`) ?? '(no log)').slice(-LOG_CHARACTERS),
  };
  const entries: { name: string; data: Uint8Array }[] = [];
  for (const [name, read] of Object.entries(parts)) {
    const text = await Promise.resolve()
      .then(read)
      .catch((error: unknown) => `(${errorCode(error)}: ${errorMessage(error)})`);
    signal.throwIfAborted();
    entries.push({ name: `towpath-bugreport/${name}`, data: Buffer.from(redaction.apply(text)) });
  }
  const archive = gzipSync(tar(entries, clock.wallTime()));
  try {
    writeFileSync(output, archive, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') {
      throw new TowpathError('disk-failed', `${output} exists. Next: choose another name with -o.`, { cause });
    }
    const failure = notWritten(output, cause);
    // Of a disk that became full a part of the file is left; otherwise there is none.
    if (failure.code === 'disk-full') rmSync(output, { force: true });
    throw failure;
  }
  if (options.json) printJson(io, 'bugreport', { output, bytes: archive.length });
  else {
    io.out(`${output} (${formatBytes(archive.length)})`);
    const advice = 'Keys, tokens, invites and public addresses are replaced. Look through it before you send it.';
    for (const line of wrap(advice, io.columns)) io.err(line);
  }
}

function versions(): object {
  return {
    towpath: VERSION,
    node: process.version,
    system: `${platform()} ${release()} ${arch()}`,
    processors: cpus().length,
    memoryBytes: totalmem(),
    user: process.getuid?.() === 0 ? 'root' : 'not root',
  };
}

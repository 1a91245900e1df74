import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CameraEmulator, type CameraEmulatorOptions, paddedPictures } from '@towpath/camera/emulator';
import { SeededRandom, SystemClock, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { freePort } from '../../net/test/free-port.ts';
import type { ExitCode } from '../src/cli/exit-code.ts';
import type { Io } from '../src/cli/io.ts';
import { run } from '../src/main.ts';
import { testIo } from './test-io.ts';

export const CAMERA = '127.0.0.1';

export interface Outcome {
  code: ExitCode;
  out: string[];
  err: string[];
}

/**
 * An emulated camera on loopback and a person at a terminal. Real sockets and the real clock, because the commands also
 * touch real files, which no virtual clock can wait for.
 */
export interface CommandLine {
  camera: CameraEmulator;
  /** A fresh folder that is removed at the end. */
  folder: string;
  /** Runs one command line to its end. */
  towpath(...args: string[]): Promise<Outcome>;
  /** The same for a command that talks to the camera: where it listens is added. */
  toCamera(...args: string[]): Promise<Outcome>;
  /** The same as `towpath`, on a terminal where a person types `answer` at a question. */
  onTerminal(answer: string, ...args: string[]): Promise<Outcome & { drawn: string[] }>;
  /** Where the camera answers searches. */
  searchPort: number;
  close(): Promise<void>;
}

export async function commandLine(init: CameraEmulatorOptions = {}): Promise<CommandLine> {
  const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SeededRandom(2) };
  const folder = mkdtempSync(join(tmpdir(), 'towpath-cli-'));
  const searchPort = await freePort();
  const place = { address: CAMERA, listenPort: 0, searchPort, pictures: paddedPictures() };
  const camera = new CameraEmulator(components, { ...place, ...init });
  await camera.start();
  const towpath = async (...args: string[]): Promise<Outcome> => {
    const out: string[] = [];
    const err: string[] = [];
    const signal = new AbortController().signal;
    const configFolder = join(folder, 'config');
    const code = await run(args, { ...components, io: recordingIo(out, err), log: silentLog, signal, configFolder });
    return { code, out, err };
  };
  const onTerminal = async (answer: string, ...args: string[]) => {
    const out: string[] = [];
    const err: string[] = [];
    const drawn: string[] = [];
    const io: Io = {
      ...recordingIo(out, err),
      interactive: true,
      draw: (line) => drawn.push(line),
      readLine: async () => answer,
    };
    const configFolder = join(folder, 'config');
    const signal = new AbortController().signal;
    const code = await run(args, { ...components, io, log: silentLog, signal, configFolder });
    return { code, out, err, drawn };
  };
  const toCamera = (...args: string[]) =>
    towpath('camera', ...args, CAMERA, '--ports', String(camera.listen.port), '--search-port', String(searchPort));
  const close = async () => {
    await camera.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { camera, folder, towpath, toCamera, onTerminal, searchPort, close };
}

function recordingIo(out: string[], err: string[]): Io {
  return testIo({
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    write: async (bytes) => {
      out.push(`${bytes.length} bytes`);
    },
    columns: 200,
  });
}

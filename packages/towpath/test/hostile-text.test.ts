import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CAMERA, type CommandLine, commandLine } from './support.ts';

const TOWPATH = new URL('../bin/towpath.js', import.meta.url).pathname;

/** What a terminal obeys, or what turns its text around. */
const OBEYED = /[\p{Cc}\p{Bidi_Control}\p{Cs}]/u;

describe('text of a camera does not reach the terminal raw (C10)', { timeout: 120_000 }, () => {
  let at: CommandLine;

  beforeAll(async () => {
    at = await commandLine({ itemCount: 3, faults: { hostileText: true } });
  });

  afterAll(() => at.close());

  test.each([
    [['info']],
    [['info', '--json']],
    [['connect']],
    [['connect', '--json']],
    [['settings']],
    [['settings', '--json']],
    [['watch', '--for', '0.5']],
    [['command', 'deviceInfo', '{}']],
    [['command', 'deviceInfo', '{}', '--json']],
  ])('%j', async ([command = '', ...more]) => {
    const { port } = at.camera.listen;
    const target = [CAMERA, '--ports', String(port), '--search-port', String(at.searchPort)];
    const args = command === 'command' ? [...more.slice(0, 2), ...target, ...more.slice(2)] : [...target, ...more];
    const child = spawn(process.execPath, [TOWPATH, 'camera', command, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, XDG_CONFIG_HOME: at.folder, FORCE_COLOR: undefined },
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    const [code] = await once(child, 'close');
    expect([code, text.replaceAll(/[\n\t]/g, '').match(OBEYED)]).toEqual([0, null]);
    expect(text.length).toBeGreaterThan(10);
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, SystemRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { NodeNetwork } from '@towpath/net';
import { expect, test } from 'vitest';
import { ExitCode } from '../src/cli/exit-code.ts';
import { run } from '../src/main.ts';
import { testIo } from './test-io.ts';

test.each([true, false])(
  'a server that does not answer is named while it is waited for, on a terminal only (%s)',
  async (interactive) => {
    const folder = mkdtempSync(join(tmpdir(), 'towpath-waiting-'));
    const network = new NodeNetwork();
    let accepted = 0;
    const server = await network.listenTcp({
      address: '127.0.0.1',
      onConnection: () => {
        accepted++;
        return { onData: () => {}, onClose: () => {} };
      },
    });
    try {
      const clock = new VirtualClock();
      const drawn: string[] = [];
      const [out, err]: [string[], string[]] = [[], []];
      const io = testIo({
        interactive,
        columns: 120,
        draw: (text) => void drawn.push(text),
        out: (line) => void out.push(line),
        err: (line) => void err.push(line),
      });
      const { signal } = new AbortController();
      const at = `127.0.0.1:${server.local.port}`;
      const args = ['party', 'create', 'camp', '--server', `http://${at}`, '--as', 'Ann', '--json'];
      const ended = run(args, {
        io,
        clock,
        random: new SystemRandom(),
        network,
        log: silentLog,
        signal,
        configFolder: folder,
      });
      await expect.poll(() => accepted).toBe(1);
      await clock.advance(999);
      expect(drawn).toEqual([]);
      await clock.advance(1);
      expect(drawn).toEqual(interactive ? [`Waiting for ${at} …`] : []);
      await clock.advance(9_000);
      expect(await ended).not.toBe(ExitCode.Ok);
      expect(drawn.slice(1)).toEqual(interactive ? [''] : []);
      expect(out.map((line) => JSON.parse(line).error.code)).toEqual(['server-unavailable']);
      expect(clock.pendingTimers).toBe(0);
    } finally {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

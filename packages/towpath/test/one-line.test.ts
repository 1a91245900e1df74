import { TowpathError } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { showFailure } from '../src/cli/failure.ts';
import type { Io } from '../src/cli/io.ts';
import { terminalLog } from '../src/cli/log.ts';
import { serverLog } from '../src/serve/server-log.ts';

test('what others say does not become a line of its own (C10)', () => {
  const lines: string[] = [];
  const io = {
    interactive: false,
    style: (_style: string, text: string) => text,
    err: (line: string) => lines.push(line),
  };
  const clock = new VirtualClock();
  const said = 'camera\n2026-05-01T12:00:00.000Z error [API] forged';
  serverLog(io as unknown as Io, clock, { json: false, verbose: false }).warn(said, { name: said });
  terminalLog(io as unknown as Io, clock).warn(said, { name: said });
  showFailure(io as unknown as Io, new TowpathError('other-camera', said), false);
  expect(lines).toHaveLength(3);
  for (const line of lines) expect(line).not.toContain('\n');
});

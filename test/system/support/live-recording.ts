import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LiveMp4, type LiveMp4Summary } from '@towpath/camera/outputs';
import { expect } from 'vitest';
import { Hotspot } from '../../../packages/camera/test/emulator-fixture.ts';

const MINUTE_MS = 60_000;

export interface Recording {
  file: string;
  summary: LiveMp4Summary;
}

/** Records a minute of an emulated camera on a virtual clock. `during` is called after 20 s. */
export async function record(folder: string, loss: number, during?: (hotspot: Hotspot) => void): Promise<Recording> {
  const hotspot = new Hotspot();
  const { clock } = hotspot;
  const camera = await hotspot.camera({
    timeCode: true,
    faults: { toCamera: { lossRatio: loss }, fromCamera: { lossRatio: loss } },
  });
  const client = await hotspot.connected();
  const parts: Uint8Array[] = [];
  const mp4 = new LiveMp4({ write: async (bytes) => void parts.push(bytes.slice()) });
  const abort = new AbortController();
  const recording = (async () => {
    for await (const frame of client.live({ signal: abort.signal })) await mp4.add(frame, clock.now());
  })().catch((error: Error) => error.message);
  await clock.advance(MINUTE_MS / 3);
  during?.(hotspot);
  if (during) {
    camera.faults.silent = true;
    await clock.advance(12_000);
    camera.faults.silent = false;
    await clock.advance((MINUTE_MS * 2) / 3 - 12_000);
  } else await clock.advance((MINUTE_MS * 2) / 3);
  abort.abort(new Error('enough'));
  expect(await clock.runUntil(recording)).toBe('enough');
  const summary = await mp4.close();
  expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  const file = join(folder, `${loss}-${during ? 'cut' : 'whole'}.mp4`);
  writeFileSync(file, Buffer.concat(parts));
  return { file, summary };
}

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, says } from './support/lab.ts';
import { PPPP_ENDS, ppppEnd } from './support/pppp-lab.ts';

const R = '203.0.113.10';
const LIMITED = new URL('./support/limited-pppp-relay.ts', import.meta.url).pathname;
/** With headers of PPPP, UDP and IP. */
const DATA_BYTES = 1_008 + 28;

describe.skipIf(!labAvailable() && process.env.CI !== 'true')(
  'limits of the relay of PPPP in the kernel (needs root, iproute2, nftables)',
  () => {
    let lab: Lab;
    let relay: LabHost;

    beforeEach(() => {
      lab = new Lab();
      relay = lab.host('relay', R);
    });

    afterEach(() => lab.close());

    test("a client's bytes of a day hold in the kernel within 5 %, and end its session; another loses nothing (A7, D2)", async () => {
      const perDay = 300_000;
      const serving = relay.spawn(process.execPath, [LIMITED, R, '32110', '1000000000', String(perDay)], {}, 'pipe');
      await says(serving, 'ready', 30_000);
      const meet = async (at: number) => {
        const client = await ppppEnd(lab.host(`client${at}`, `203.0.113.${30 + at}`), R, 32_110);
        const { magic, port } = client.session;
        const device = await ppppEnd(lab.host(`device${at}`, `203.0.113.${40 + at}`), R, port, magic);
        for (const what of ['introduce', 'alive']) for (const each of [client, device]) await each.ask(what);
        return { client, device, source: `${R}:${port}` };
      };
      const [bounded, free] = await Promise.all([meet(0), meet(1)]);
      const moved = async () => {
        const counted = says(serving, /\{.*\}\n/, 10_000);
        serving.kill('SIGUSR2');
        return (JSON.parse((await counted).trim().split('\n').at(-1)!) as { moved: number }).moved;
      };
      await expect.poll(moved, { timeout: 10_000 }).toBe(2);
      await Promise.all([bounded.device.ask('send 2000'), free.device.ask('send 200')]);
      await expect.poll(async () => (await bounded.client.ask('seen')).CLOSE, { timeout: 10_000 }).toBe(1);
      const passed = (await bounded.client.ask('seen'))[bounded.source]! * DATA_BYTES;
      expect(Math.abs(passed - perDay)).toBeLessThanOrEqual(0.05 * perDay);
      expect(await free.client.ask('seen')).toEqual({ [free.source]: 200 });
    });

    test('a client over its rate is limited by the kernel, and another loses nothing', async () => {
      const perSecond = 100_000;
      const serving = relay.spawn(process.execPath, [LIMITED, R, '32110', String(perSecond)], {}, 'pipe');
      await says(serving, 'ready', 30_000);
      const startedMs = performance.now();
      const passed = async (name: string, address: string, count: number) => {
        const { stdout } = await lab.host(name, address).run(process.execPath, [PPPP_ENDS, R, '32110', String(count)]);
        const { client, device } = JSON.parse(stdout) as Record<'client' | 'device', { data: number }>;
        return client.data + device.data;
      };
      const [limited, free] = await Promise.all([
        passed('limited', '203.0.113.30', 4_000),
        passed('free', '203.0.113.31', 20),
      ]);
      const tookS = (performance.now() - startedMs) / 1_000;
      expect(free).toBe(2 * 20);
      // The kernel lets the bytes of a second pass at once, after which the rate holds.
      expect(limited * DATA_BYTES).toBeLessThanOrEqual(1.05 * perSecond * (tookS + 1));
      expect(limited * DATA_BYTES).toBeGreaterThan(perSecond);
      const counted = says(serving, /\{.*\}\n/, 10_000);
      serving.kill('SIGUSR2');
      expect(JSON.parse((await counted).trim().split('\n').at(-1)!)).toEqual({
        packetsOverRate: 2 * 4_000 - limited,
        moved: 2,
      });
    });
  },
);

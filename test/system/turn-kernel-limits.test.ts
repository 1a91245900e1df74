import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PEER, PEER_PORT, R, TurnLab, type TurnLabClient, turnLabAvailable } from './support/turn-lab.ts';

describe.skipIf(!turnLabAvailable() && process.env.CI !== 'true')(
  'limits of plain relaying in the kernel (needs root, iproute2, nftables, python3)',
  () => {
    let turn: TurnLab;

    beforeEach(async () => {
      turn = await TurnLab.open();
    });

    afterEach(() => turn.close());

    test("a user's rate holds within 5 % at ten times the rate", async () => {
      const kilobytes = 514;
      const { metrics } = await turn.serve(['--data-plane', 'kernel', '--user-bandwidth', String(kilobytes)]);
      const client = await turn.connect(turn.lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      await turn.inKernel(metrics, 1);
      let tookS = 0;
      const { packets } = await turn.counted(async () => {
        tookS = (await client.ask<{ tookS: number }>('send 20000 1000 5000')).tookS;
      });
      // One second's worth passes at the start.
      const allowed = (kilobytes * 1_000 * (tookS + 1)) / 1_028;
      expect(Math.abs(packets - allowed)).toBeLessThan(0.05 * allowed);
      await expect.poll(async () => (await metrics()).kernel_dropped_over_rate).toBe(20_000 - packets);
    });

    test.each(['kernel', 'user'])(
      "a party's rate holds within 5 % for two members at ten times the rate; another party loses nothing, data plane %s",
      async (mode) => {
        const secret = 'a secret of at least 32 characters, shared';
        writeFileSync(join(turn.folder, 'secret'), `${secret}\n`, { mode: 0o600 });
        const kilobytes = 103;
        const limits = ['--secret-file', join(turn.folder, 'secret'), '--party-bandwidth', String(kilobytes)];
        const { metrics } = await turn.serve(['--data-plane', mode, ...limits]);
        const id = (digit: string) => digit.repeat(32);
        const member = (name: string, address: string, party: string, own: string) =>
          turn.connect(
            turn.lab.host(name, address),
            { address: PEER, port: PEER_PORT },
            R,
            timeLimitedCredentials(secret, `${id(own)}.${id(party)}.${id('f')}`, 600_000, Date.now()),
          );
        const members = [await member('m1', '203.0.113.30', '1', 'a'), await member('m2', '203.0.113.32', '1', 'b')];
        const neighbour = await member('m3', '203.0.113.33', '2', 'c');
        if (mode === 'kernel') await turn.inKernel(metrics, 3);
        let tookS = 0;
        const { sources } = await turn.counted(async () => {
          const startedMs = performance.now();
          const sending = members.map((each) => each.ask('send 4000 1000 500'));
          await neighbour.ask('send 400 1000 50');
          await Promise.all(sending);
          tookS = (performance.now() - startedMs) / 1_000;
        });
        const of = ({ relayed: { address, port } }: TurnLabClient) => sources[`${address}:${port}`] ?? 0;
        expect(of(neighbour)).toBe(400);
        // One second's worth passes at the start.
        const allowed = (kilobytes * 1_000 * (tookS + 1)) / 1_028;
        const passed = members.reduce((sum, each) => sum + of(each), 0);
        expect(Math.abs(passed - allowed)).toBeLessThan(0.05 * allowed);
      },
    );

    test('nft that stops answering is replaced while data passes', async () => {
      const { metrics } = await turn.serve(['--data-plane', 'kernel']);
      const client = await turn.connect(turn.lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      await turn.inKernel(metrics, 1);
      const { packets } = await turn.counted(async () => {
        const sending = client.ask('send 8000 500 1000');
        process.kill(turn.nftPid(), 'SIGSTOP');
        await sending;
      });
      expect(packets).toBe(8_000);
      await expect.poll(async () => (await metrics()).kernel_replaced, { timeout: 10_000 }).toBe(1);
      await turn.inKernel(metrics, 1);
    });
  },
);

import { silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, it } from 'vitest';
import type { Commands, Ledger } from '../../src/index.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { gatewayRules, parseOffer } from '../../src/gateway/gateway.ts';

describe('gateway', () => {
  const quiet = { clock: new VirtualClock(), log: silentLog };

  it.each(['0.0.0.0/0', '10.0.0.0/7', 'fd00::/64', '192.168.43.0', 'x'])('does not offer %s', (text) => {
    expect(() => parseOffer(text)).toThrow(/no network that can be offered/);
  });

  it('forwards only what is offered, and nothing from there into the party (C14)', () => {
    const offers = [parseOffer('192.168.43.9/24')];
    const options = { interfaceName: 'tp-1', network: '10.66.0.0/16', offers: [] };
    const rules = gatewayRules('towpath-gateway-1', options, offers);
    expect(rules).toContain('iifname "tp-1" ip saddr 10.66.0.0/16 ip daddr { 192.168.43.0/24 } accept\n');
    expect(rules.indexOf('iifname "tp-1" drop')).toBeGreaterThan(rules.indexOf('accept\n'));
    expect(rules).toContain('oifname "tp-1" drop');
  });

  it('lets only the chosen members reach a network, and nobody when none is left (C14)', () => {
    const options = { interfaceName: 'tp-1', network: '10.66.0.0/16', offers: [] };
    const rules = gatewayRules('towpath-gateway-1', options, [
      parseOffer('192.168.1.0/24'),
      { ...parseOffer('192.168.43.0/24'), from: ['10.66.0.7', '10.66.0.9'] },
      { ...parseOffer('192.168.44.0/24'), from: [] },
    ]);
    expect(rules).toContain('iifname "tp-1" ip saddr 10.66.0.0/16 ip daddr { 192.168.1.0/24 } accept\n');
    expect(rules).toContain('iifname "tp-1" ip saddr { 10.66.0.7, 10.66.0.9 } ip daddr { 192.168.43.0/24 } accept\n');
    expect(rules).toContain(
      'ip saddr { 10.66.0.7, 10.66.0.9 } ip daddr { 192.168.43.0/24 } oifname != "tp-1" masquerade',
    );
    expect(rules).not.toContain('192.168.44.0');
  });

  it('does not offer a network that is reached through another party (C14)', async () => {
    const programs: string[] = [];
    const commands: Commands = {
      run: async (program) => {
        programs.push(program);
        return { code: 0, stdout: '10.91.0.0 dev tp-0123456789 src 10.91.3.4\n', stderr: '' };
      },
    };
    const ledger = { record: () => {}, artifacts: [] } as unknown as Ledger;
    const options = { interfaceName: 'tp-9876543210', network: '10.66.0.0/16', offers: ['10.91.0.0/16'] };
    await expect(Gateway.open({ ...quiet, commands, ledger }, options)).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('through a party itself'),
    });
    expect(programs).toEqual(['ip']);
  });

  it('replaces who may in one load of the rules, and takes only addresses (C14)', async () => {
    const loaded: string[] = [];
    const commands: Commands = {
      run: async (program, _args, options) => {
        if (program === 'nft' && options?.input !== undefined) loaded.push(options.input);
        return { code: 0, stdout: '192.168.43.1 dev lo src 127.0.0.1\n', stderr: '' };
      },
    };
    const recorded: unknown[] = [];
    const ledger = { record: (artifact: unknown) => void recorded.push(artifact), artifacts: [] } as unknown as Ledger;
    const offer = (from: string[]) => ({ network: '192.168.43.0/24', from });
    const options = { interfaceName: 'lo', network: '10.66.0.0/16', offers: [offer(['10.66.0.7'])] };
    const gateway = await Gateway.open({ ...quiet, commands, ledger }, options);
    await gateway.update([offer(['10.66.0.8', '0.0.0.0/0 } accept'])]);
    expect(loaded).toHaveLength(2);
    expect(loaded[1]).toContain('ip saddr { 10.66.0.8 } ip daddr { 192.168.43.0/24 } accept');
    expect(loaded[1]).not.toContain('10.66.0.7');
    await gateway.close();
  });

  it('makes its rules again when somebody else has removed them, and not once it is closed (C14)', async () => {
    const clock = new VirtualClock();
    let there = false;
    let loads = 0;
    const commands: Commands = {
      run: async (program, _args, options) => {
        if (program === 'nft' && options?.input === undefined) return { code: there ? 0 : 1, stdout: '', stderr: '' };
        if (program === 'nft') {
          there = true;
          loads++;
        }
        return { code: 0, stdout: '192.168.43.1 dev lo src 127.0.0.1\n', stderr: '' };
      },
    };
    const ledger = { record: () => {}, artifacts: [] } as unknown as Ledger;
    const options = { interfaceName: 'lo', network: '10.66.0.0/16', offers: ['192.168.43.0/24'] };
    const gateway = await Gateway.open({ ...quiet, clock, commands, ledger }, options);
    await clock.advance(10_000);
    expect(loads).toBe(1);
    there = false;
    await clock.advance(1_000);
    expect([there, loads]).toEqual([true, 2]);
    there = false;
    await gateway.close();
    await gateway.check();
    expect([there, clock.pendingTimers]).toEqual([false, 0]);
  });
});

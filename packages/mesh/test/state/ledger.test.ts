import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@towpath/core';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Ledger, listLedgers, recoverLeftovers } from '../../src/state/ledger.ts';
import { decodeStateRecord } from '../../src/state/state-file.ts';
import type { CommandResult, Commands } from '../../src/wireguard/command.ts';

class FakeSystem implements Commands {
  readonly calls: string[] = [];
  failing: RegExp | undefined;
  failure = 'RTNETLINK answers: Device or resource busy';
  async run(program: string, args: readonly string[]): Promise<CommandResult> {
    const line = [program, ...args].join(' ');
    this.calls.push(line);
    return this.failing?.test(line)
      ? { code: 1, stdout: '', stderr: this.failure }
      : { code: 0, stdout: '', stderr: '' };
  }
}

const linux = process.platform === 'linux';

describe.skipIf(!linux)('Ledger', () => {
  let folder: string;
  let system: FakeSystem;
  const components = () => ({ commands: system, log: silentLog });
  const file = () => join(folder, 'tp-01.json');
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-ledger-'));
    system = new FakeSystem();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** What the file of a killed process looks like: its process id belongs to nobody, or to another process. */
  function leaveBehind(owner: { pid?: number; startTicks?: string; bootId?: string } = {}): void {
    const text = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const record = { pid: process.pid, startTicks: '1', bootId: text, ...owner };
    writeFileSync(`${file()}.lock`, JSON.stringify(record));
    writeFileSync(
      file(),
      JSON.stringify({
        ...record,
        artifacts: [
          { kind: 'interface', name: 'tp-01' },
          { kind: 'sysctl', key: 'net.ipv4.conf.eth0.forwarding', previous: '0' },
        ],
      }),
    );
  }

  it('has on the disk what is about to be made, with mode 0600', async () => {
    const ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    ledger.record({ kind: 'interface', name: 'tp-01' });
    expect(decodeStateRecord(readFileSync(file(), 'utf8'))?.artifacts).toEqual([{ kind: 'interface', name: 'tp-01' }]);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    await ledger.close();
    expect(system.calls).toEqual(['ip link delete dev tp-01']);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('removes what a killed process left, last made first, although its process id is in use again', async () => {
    leaveBehind();
    await using ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    expect(system.calls).toEqual(['sysctl -qw net.ipv4.conf.eth0.forwarding=0', 'ip link delete dev tp-01']);
    expect(ledger.artifacts).toEqual([]);
  });

  it('leaves nothing of a write that a killed process did not finish', async () => {
    const unfinished = `${file()}.new`;
    leaveBehind();
    writeFileSync(unfinished, '{"pid":');
    await (await Ledger.open(components(), { folder, name: 'tp-01' })).close();
    expect(readdirSync(folder)).toEqual([]);
    leaveBehind();
    writeFileSync(unfinished, '{"pid":');
    expect(await recoverLeftovers(components(), folder)).toMatchObject({ cleared: ['tp-01'] });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('changes nothing in the kernel for the record of an earlier boot', async () => {
    leaveBehind({ bootId: 'earlier' });
    await using _ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    expect(system.calls).toEqual([]);
  });

  it('is held by one living process at a time', async () => {
    await using _ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    await expect(Ledger.open(components(), { folder, name: 'tp-01' })).rejects.toMatchObject({
      code: 'already-running',
      message: expect.stringContaining(String(process.pid)),
    });
    expect(listLedgers(folder)).toMatchObject([{ name: 'tp-01', alive: true }]);
    expect(await recoverLeftovers(components(), folder)).toEqual({ cleared: [], failed: [] });
  });

  it('keeps the record of what cannot be removed', async () => {
    const ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    ledger.record({ kind: 'interface', name: 'tp-01' });
    system.failing = /link delete/;
    await expect(ledger.close()).rejects.toMatchObject({ code: 'command-failed' });
    expect(decodeStateRecord(readFileSync(file(), 'utf8'))?.artifacts).toHaveLength(1);
  });

  it.each(['Cannot find device "tp-01"', 'RTNETLINK answers: No such device'])(
    'has nothing more to remove where the interface went by itself: %s',
    async (failure) => {
      const ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
      ledger.record({ kind: 'interface', name: 'tp-01' });
      Object.assign(system, { failing: /link delete/, failure });
      await ledger.close();
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  it('recovers all ledgers of killed processes', async () => {
    leaveBehind();
    expect(await recoverLeftovers(components(), folder)).toEqual({ cleared: ['tp-01'], failed: [] });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('recovers from a process that was killed before it had written its first ledger', async () => {
    leaveBehind();
    rmSync(file());
    writeFileSync(`${file()}.new`, '{"pid":');
    // No process has an id above 4,194,304, the most that the kernel allows.
    writeFileSync(`${file()}.lock.4194305`, '');
    expect(await recoverLeftovers(components(), folder)).toEqual({ cleared: ['tp-01'], failed: [] });
    expect(readdirSync(folder)).toEqual([]);
    expect(system.calls).toEqual([]);
  });

  it('is left alone by a recovery while its process has the lock only', async () => {
    await using _ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    rmSync(file());
    writeFileSync(`${file()}.lock.${process.pid}`, '');
    expect(await recoverLeftovers(components(), folder)).toEqual({ cleared: [], failed: [] });
    expect(readdirSync(folder)).toEqual(['tp-01.json.lock', `tp-01.json.lock.${process.pid}`]);
  });

  it('opens after a lock file that was cut off by a crash', async () => {
    writeFileSync(`${file()}.lock`, '{"pi');
    await using ledger = await Ledger.open(components(), { folder, name: 'tp-01' });
    expect(ledger.artifacts).toEqual([]);
  });

  it('says what to do with a damaged file, and deletes nothing because of it', async () => {
    writeFileSync(file(), '{');
    await expect(Ledger.open(components(), { folder, name: 'tp-01' })).rejects.toMatchObject({ code: 'disk-failed' });
    expect(await recoverLeftovers(components(), folder)).toMatchObject({ cleared: [], failed: [{ name: 'tp-01' }] });
    expect(system.calls).toEqual([]);
  });

  it('accepts nothing but names of ours from a state file', () => {
    const artifacts = [
      { kind: 'interface', name: 'eth0' },
      { kind: 'interface', name: 'tp-01; rm' },
      { kind: 'sysctl', key: 'kernel.panic', previous: '1' },
      { kind: 'sysctl', key: 'net.ipv4.ip_forward', previous: '0 ' },
      { kind: 'nft-table', family: 'ip', name: 'filter' },
      { kind: 'hosts-block', path: 'relative', marker: 'x' },
      { kind: 'other' },
    ];
    const text = JSON.stringify({ pid: 1, startTicks: '1', bootId: '', artifacts });
    expect(decodeStateRecord(text)?.artifacts).toEqual([]);
  });

  it('reads any text without throwing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const record = decodeStateRecord(text);
        if (record) expect(Array.isArray(record.artifacts)).toBe(true);
      }),
    );
  });
});

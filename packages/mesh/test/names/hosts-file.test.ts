import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeHostsBlock, withHostsBlock, writeHostsBlock } from '../../src/names/hosts-file.ts';

const ALICE = { address: '10.66.0.7', name: 'alice.home.internal' };
const BOB = { address: '10.66.0.8', name: 'bob.home.internal' };

describe('withHostsBlock', () => {
  it('adds, replaces and removes a block and leaves every other line as it is', () => {
    const text = '127.0.0.1\tlocalhost\r\n\n# by hand';
    const added = withHostsBlock(text, 'tp-1', [ALICE]);
    expect(added).toBe(`${text}\n# BEGIN towpath tp-1\n10.66.0.7\talice.home.internal\n# END towpath tp-1\n`);
    const replaced = withHostsBlock(added, 'tp-1', [BOB]);
    expect(replaced).toContain('bob.home.internal');
    expect(replaced).not.toContain('alice.home.internal');
    expect(withHostsBlock(replaced, 'tp-1', [])).toBe(`${text}\n`);
  });

  it('keeps the block of another party', () => {
    const both = withHostsBlock(withHostsBlock('', 'tp-1', [ALICE]), 'tp-2', [BOB]);
    expect(withHostsBlock(both, 'tp-1', [])).toBe(withHostsBlock('', 'tp-2', [BOB]));
  });

  it('removes no foreign line when the end of the block is missing', () => {
    const cut = '# BEGIN towpath tp-1\n10.66.0.7\talice.home.internal\n192.0.2.1 other # mine\n';
    expect(withHostsBlock(cut, 'tp-1', [])).toBe('192.0.2.1 other # mine\n');
  });

  it('writes no name and no address that could be a second line', () => {
    const bad = [
      { address: '10.66.0.7\n192.0.2.1', name: 'a.b' },
      { address: '10.66.0.7', name: 'a.b\n192.0.2.1\tgoogle.example' },
      { address: '10.66.0.7', name: 'a b' },
    ];
    expect(withHostsBlock('', 'm', bad)).toBe('# BEGIN towpath m\n# END towpath m\n');
  });

  it('returns any file unchanged after adding and removing, but for a missing last line break', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!text.includes('# BEGIN towpath'));
        const back = withHostsBlock(withHostsBlock(text, 'tp-1', [ALICE, BOB]), 'tp-1', []);
        expect(back).toBe(text === '' || text.endsWith('\n') ? text : `${text}\n`);
      }),
    );
  });
});

describe('writeHostsBlock', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-hosts-'));
    path = join(folder, 'hosts');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('replaces the file as a whole and keeps its mode', () => {
    writeFileSync(path, '127.0.0.1 localhost\n', { mode: 0o640 });
    const before = statSync(path);
    writeHostsBlock(path, 'tp-1', [ALICE]);
    const after = statSync(path);
    expect(after.mode).toBe(before.mode);
    expect(after.ino).not.toBe(before.ino);
    removeHostsBlock(path, 'tp-1');
    expect(readFileSync(path, 'utf8')).toBe('127.0.0.1 localhost\n');
  });

  it('removes the draft that a killed process left', () => {
    writeFileSync(path, '');
    writeFileSync(`${path}.towpath-tp-1`, 'half');
    removeHostsBlock(path, 'tp-1');
    expect(statSync(`${path}.towpath-tp-1`, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('says which file cannot be changed', () => {
    expect(() => writeHostsBlock(join(folder, 'none', 'hosts'), 'tp-1', [ALICE])).toThrow(
      /cannot be changed \(ENOENT\)/,
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CommandOptions, CommandResult, Commands } from '../../src/wireguard/command.ts';
import { decodeWgDump, WgToolControl } from '../../src/wireguard/wg-tool.ts';

const SECRET = new Uint8Array(32).fill(7);
const PUBLIC = new Uint8Array(32).fill(9);
const OTHER = new Uint8Array(32).fill(10);
const base64 = (key: Uint8Array) => Buffer.from(key).toString('base64');

const DUMP = [
  [base64(SECRET), base64(PUBLIC), '51820', 'off'].join('\t'),
  [base64(OTHER), '(none)', '192.0.2.1:40000', '10.66.0.7/32,192.168.43.0/24', '1700000000', '20', '10', 'off'].join(
    '\t',
  ),
  '',
].join('\n');

class RecordedCommands implements Commands {
  readonly calls: { line: string; input: string | undefined }[] = [];
  async run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    this.calls.push({ line: [program, ...args].join(' '), input: options.input });
    return { code: 0, stdout: args[0] === 'show' ? DUMP : '', stderr: '' };
  }
}

describe('WgToolControl', () => {
  it('passes secrets through standard input, never on a command line (C4)', async () => {
    const commands = new RecordedCommands();
    const control = new WgToolControl({ commands }, 'tp-1');
    await control.configure({
      privateKey: SECRET,
      listenPort: 5,
      peers: [
        {
          publicKey: OTHER,
          presharedKey: SECRET,
          endpoint: { address: '192.0.2.9', port: 6 },
          allowedIps: ['10.66.0.7/32'],
        },
      ],
    });
    expect(commands.calls.map(({ line }) => line)).toEqual([
      'wg set tp-1 listen-port 5 private-key /dev/stdin',
      `wg set tp-1 peer ${base64(OTHER)} endpoint 192.0.2.9:6 allowed-ips 10.66.0.7/32 preshared-key /dev/stdin`,
    ]);
    expect(commands.calls.every(({ input }) => input === `${base64(SECRET)}\n`)).toBe(true);
    expect(commands.calls.some(({ line }) => line.includes(base64(SECRET)))).toBe(false);
  });

  it('removes the peers that a replacement does not name', async () => {
    const commands = new RecordedCommands();
    await new WgToolControl({ commands }, 'tp-1').configure({ replacePeers: true, peers: [{ publicKey: PUBLIC }] });
    expect(commands.calls.map(({ line }) => line)).toContain(`wg set tp-1 peer ${base64(OTHER)} remove`);
  });

  it('does not create a peer again with updateOnly', async () => {
    const commands = new RecordedCommands();
    const endpoint = { address: '192.0.2.9', port: 6 };
    await new WgToolControl({ commands }, 'tp-1').configure({
      peers: [{ publicKey: PUBLIC, updateOnly: true, endpoint }],
    });
    expect(commands.calls.map(({ line }) => line)).toEqual(['wg show tp-1 dump']);
  });
});

describe('decodeWgDump', () => {
  it('reads the interface and its peers', () => {
    expect(decodeWgDump(DUMP)).toEqual({
      listenPort: 51_820,
      peers: [
        {
          publicKey: OTHER,
          endpoint: { address: '192.0.2.1', port: 40_000 },
          allowedIps: ['10.66.0.7/32', '192.168.43.0/24'],
          lastHandshakeMs: 1_700_000_000_000,
          receivedBytes: 20,
          sentBytes: 10,
          persistentKeepaliveSeconds: 0,
        },
      ],
    });
  });

  it('never throws', () => {
    const field = fc.oneof(fc.string(), fc.constantFrom(base64(OTHER), '(none)', 'off', '1', '192.0.2.1:4'));
    const lines = fc.array(
      fc.array(field, { maxLength: 9 }).map((fields) => fields.join('\t')),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(lines, (text) => {
        const device = decodeWgDump(text.join('\n'));
        for (const peer of device?.peers ?? []) expect(peer.publicKey).toHaveLength(32);
      }),
    );
  });
});

import { type ChildProcess, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemRandom } from '@towpath/core';
import { generateWireGuardKey, toHex } from '@towpath/membership';
import {
  type CommandOptions,
  type CommandResult,
  type Commands,
  interfaceNameFor,
  SystemCommands,
} from '../../../packages/mesh/src/index.ts';
import { Lab, type LabHost, labAvailable } from './lab.ts';
import type { WireGuardNodeOptions } from './wireguard-node.ts';

/** What every hosts file of a node contains at the start. */
export const HOSTS = '127.0.0.1\tlocalhost\n';

export interface WireGuardNode {
  readonly host: LabHost;
  readonly options: WireGuardNodeOptions;
}

/** True when namespaces, nftables and wireguard-go can be used here. */
export function wireGuardAvailable(): boolean {
  return labAvailable() && ['wireguard-go', 'wg'].every((name) => spawnSync(name, ['--version']).error === undefined);
}

/** Two hosts of a lab that know each other's WireGuard keys and addresses. */
export class WireGuardLab {
  readonly lab: Lab = new Lab();
  readonly folder: string = mkdtempSync(join(tmpdir(), 'towpath-wireguard-'));
  readonly nodes: [WireGuardNode, WireGuardNode];

  constructor() {
    const keys = [generateWireGuardKey(new SystemRandom()), generateWireGuardKey(new SystemRandom())];
    const addresses = ['203.0.113.20', '203.0.113.21'];
    const node = (at: 0 | 1): WireGuardNode => {
      const other = 1 - at;
      const hostsPath = join(this.folder, `hosts${at}`);
      writeFileSync(hostsPath, HOSTS);
      return {
        host: this.lab.host(`wg${at}`, addresses[at]!),
        options: {
          name: interfaceNameFor(`${process.pid}`.padStart(32, '0'), `${at}`.padStart(32, '0')),
          stateFolder: join(this.folder, `state${at}`),
          hostsPath,
          privateKey: toHex(keys[at]!.privateKey),
          address: `10.66.0.${2 + at}`,
          listenPort: 51_820,
          peer: {
            publicKey: toHex(keys[other]!.publicKey),
            address: `10.66.0.${2 + other}`,
            endpoint: { address: addresses[other]!, port: 51_820 },
          },
        },
      };
    };
    this.nodes = [node(0), node(1)];
  }

  start({ host, options }: WireGuardNode): ChildProcess {
    return host.spawn(process.execPath, ['test/system/support/wireguard-node.ts', JSON.stringify(options)]);
  }

  async close(): Promise<void> {
    await this.lab.close();
    for (const { options } of this.nodes) killServer(options.name);
    rmSync(this.folder, { recursive: true });
  }
}

/** Runs programs inside a host of the lab. */
export class HostCommands implements Commands {
  readonly #host: LabHost;

  constructor(host: LabHost) {
    this.#host = host;
  }

  run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return new SystemCommands().run('ip', ['netns', 'exec', this.#host.namespace, program, ...args], options);
  }
}

/** Every process of this machine with its command line. */
export function processes(): { pid: number; line: string }[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const line = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return [{ pid: Number(entry), line }];
      } catch {
        // It has ended since the folder was read.
        return [];
      }
    });
}

function killServer(name: string): void {
  for (const { pid, line } of processes()) if (line.endsWith(`wireguard-go -f ${name}`)) process.kill(pid, 'SIGKILL');
}

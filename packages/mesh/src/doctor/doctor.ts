import { accessSync, constants, existsSync } from 'node:fs';
import { errorCode, errorMessage } from '@towpath/core';
import { NOT_FILTERED } from '../filter/filter-control.ts';
import { listLedgers } from '../state/ledger.ts';
import type { Commands } from '../wireguard/command.ts';

/** One thing that was looked at. */
export interface DoctorFinding {
  /** Stable name: `wireguard`, `iproute2`, `nftables`, `permission`, `tun`, `hosts`, `leftovers`, `platform`. */
  readonly check: string;
  /** `ok`; `missing`: peers cannot be connected; `limited`: works, but slower or with fewer features. */
  readonly state: 'ok' | 'missing' | 'limited';
  /** What was found. */
  readonly found: string;
  /** What to do, when there is something. */
  readonly next?: string;
}

export interface DoctorOptions {
  /** Where the ledgers are; see {@link listLedgers}. */
  stateFolder: string;
  /** @default '/etc/hosts' */
  hostsPath?: string;
  /** @default process.platform */
  platform?: NodeJS.Platform;
  /** @default that of the process */
  isRoot?: boolean;
  /** Throws the system's error when the file cannot be read and written. @default that of the system */
  probe?(path: string): void;
  signal?: AbortSignal | undefined;
}

/** Looks at what a peer needs of this machine. Changes nothing. Never throws, but for an aborted signal. */
export async function examineMachine(
  components: { commands: Commands },
  options: DoctorOptions,
): Promise<DoctorFinding[]> {
  const { platform = process.platform, hostsPath = '/etc/hosts' } = options;
  if (platform !== 'linux') {
    return [
      {
        check: 'platform',
        state: 'missing',
        found: `This system is ${platform}; Towpath makes WireGuard interfaces on Linux only.`,
        next: 'Run peers on a Linux machine. Cameras can be used on any system.',
      },
    ];
  }
  const { commands } = components;
  const isRoot = options.isRoot ?? process.getuid?.() === 0;
  const probe = options.probe ?? ((path) => accessSync(path, constants.R_OK | constants.W_OK));
  const access: Access = (check, path, state, next) => examineFile({ isRoot, probe }, { check, path, state, next });
  const { signal } = options;
  return [
    permission(isRoot),
    await program(commands, signal, 'iproute2', 'ip', ['-V'], 'missing', 'apt-get install iproute2'),
    await wireGuard(commands, signal),
    tunDevice(access),
    await program(commands, signal, 'nftables', 'nft', ['-v'], 'limited', 'apt-get install nftables'),
    hostsFile(access, hostsPath),
    leftovers(options.stateFolder),
  ];
}

function permission(isRoot: boolean): DoctorFinding {
  return isRoot
    ? { check: 'permission', state: 'ok', found: 'This process may change network interfaces (root).' }
    : {
        check: 'permission',
        state: 'limited',
        found: 'This process is not root.',
        next: 'Run "sudo towpath up", or give the process CAP_NET_ADMIN.',
      };
}

async function program(
  commands: Commands,
  signal: AbortSignal | undefined,
  check: string,
  name: string,
  args: readonly string[],
  state: 'missing' | 'limited',
  install: string,
): Promise<DoctorFinding> {
  const version = await versionOf(commands, name, args, signal);
  if (version !== undefined) return { check, state: 'ok', found: version };
  const effect = check === 'nftables' ? ` Direct paths then use the hop instead of the splice. ${NOT_FILTERED}` : '';
  return { check, state, found: `The program ${name} is not installed.${effect}`, next: `Run "${install}".` };
}

/** The first line that a program says about itself; undefined when it is not installed. */
async function versionOf(
  commands: Commands,
  name: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await commands.run(name, args, { signal });
    return (stdout || stderr).split('\n')[0]!.slice(0, 120) || name;
  } catch (error) {
    if (signal?.aborted) throw error;
    return undefined;
  }
}

async function wireGuard(commands: Commands, signal: AbortSignal | undefined): Promise<DoctorFinding> {
  if (existsSync('/sys/module/wireguard')) {
    const tool = await versionOf(commands, 'wg', ['--version'], signal);
    return tool
      ? { check: 'wireguard', state: 'ok', found: `The kernel has WireGuard; ${tool}.` }
      : {
          check: 'wireguard',
          state: 'missing',
          found: 'The kernel has WireGuard, but the program wg is not installed.',
          next: 'Run "apt-get install wireguard-tools".',
        };
  }
  const userspace = await versionOf(commands, 'wireguard-go', ['--version'], signal);
  const found = 'The kernel module of WireGuard is not loaded';
  if (userspace) return { check: 'wireguard', state: 'ok', found: `${found}; ${userspace}.` };
  return {
    check: 'wireguard',
    state: 'missing',
    found: `${found} and wireguard-go is not installed.`,
    next: 'Run "modprobe wireguard" and "apt-get install wireguard-tools", or "apt-get install wireguard-go".',
  };
}

function tunDevice(access: Access): DoctorFinding {
  if (existsSync('/sys/module/wireguard'))
    return { check: 'tun', state: 'ok', found: 'Not needed with the kernel module.' };
  return access('tun', '/dev/net/tun', 'missing', 'Run "modprobe tun"; in a container, pass /dev/net/tun to it.');
}

function hostsFile(access: Access, path: string): DoctorFinding {
  return access('hosts', path, 'limited', `Make ${path} writable, or use addresses instead of names.`);
}

type Access = (check: string, path: string, state: 'missing' | 'limited', next: string) => DoctorFinding;

function examineFile(
  { isRoot, probe }: Required<Pick<DoctorOptions, 'isRoot' | 'probe'>>,
  file: { check: string; path: string; state: 'missing' | 'limited'; next: string },
): DoctorFinding {
  const { check, path, state } = file;
  try {
    probe(path);
    return { check, state: 'ok', found: `${path} can be used.` };
  } catch (error) {
    const code = errorCode(error);
    const isDenied = !isRoot && (code === 'EACCES' || code === 'EPERM');
    const next = isDenied ? 'Run it with sudo: "sudo towpath doctor".' : file.next;
    return { check, state, found: `${path} cannot be used (${errorMessage(error)}).`, next };
  }
}

function leftovers(stateFolder: string): DoctorFinding {
  const dead = listLedgers(stateFolder).filter(({ alive }) => !alive);
  if (dead.length === 0) return { check: 'leftovers', state: 'ok', found: 'Nothing is left of a killed process.' };
  const names = dead.map(({ name }) => name).join(', ');
  return {
    check: 'leftovers',
    state: 'limited',
    found: `A killed process left these behind: ${names}.`,
    next: 'Run "towpath down", which removes them.',
  };
}

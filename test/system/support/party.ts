import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { finished, type LabHost } from './lab.ts';

/** One line of `party members --watch --json`. */
export interface WatchLine {
  type: string;
  /** Times come from the one clock of the machine that runs all hosts. */
  at: string;
  member?: { name: string; virtualAddress: string };
  members?: { name: string; online: boolean; self: boolean }[];
  connected?: boolean;
  kind?: string;
  message?: string;
}

/** A host of the lab with a configuration folder of its own. */
export class PartyHost {
  readonly name: string;
  readonly #host: LabHost;
  readonly #env: Record<string, string>;

  constructor(name: string, host: LabHost, folder: string, env: Record<string, string> = {}) {
    this.name = name;
    this.#host = host;
    this.#env = { TOWPATH_HOME: join(folder, name), ...env };
  }

  /** Starts a command that stays. */
  start(...args: string[]): ChildProcess {
    return this.#host.towpath(args, this.#env);
  }

  /** Runs a command to its end. */
  run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return finished(this.#host.towpath(args, this.#env), 30_000);
  }

  /** Runs a command that must succeed, and reads the last line of its JSON. */
  async told<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run(...args, '--json');
    if (code !== 0) throw new Error(`towpath ${args.join(' ')} ended with ${code}: ${stderr}`);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T;
  }

  async members(): Promise<string[]> {
    const { members } = await this.told<{ members: { name: string }[] }>('party', 'members');
    return members.map(({ name }) => name).sort();
  }

  /** Keeps the host connected, and collects what changes. */
  watch(): Watch {
    return new Watch(this.start('party', 'members', '--watch', '--json'));
  }
}

/** Output of a watching host so far. */
export class Watch {
  readonly lines: WatchLine[] = [];
  readonly child: ChildProcess;

  constructor(child: ChildProcess) {
    this.child = child;
    let rest = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) this.lines.push(JSON.parse(part) as WatchLine);
    });
  }

  find(type: string, name?: string, from = 0): WatchLine | undefined {
    return this.lines
      .slice(from)
      .find((line) => line.type === type && (name === undefined || line.member?.name === name));
  }

  /** Everybody but the host itself who is connected, as reported. */
  get online(): string[] {
    const online = new Set<string>();
    for (const { type, members = [], member } of this.lines) {
      for (const each of members) if (each.online && !each.self) online.add(each.name);
      if (member === undefined) continue;
      if (type === 'online') online.add(member.name);
      if (type === 'offline' || type === 'gone') online.delete(member.name);
    }
    return [...online].sort();
  }
}

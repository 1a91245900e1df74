import type { CommandResult, ProgramChild, ProgramHandlers, System } from '../system.ts';
import type { Endpoint } from '../values.ts';

interface FakeElement {
  value: string | undefined;
  packets: number;
  bytes: number;
}

interface FakeTable {
  readonly maps: Map<string, Map<string, FakeElement>>;
  readonly chains: Map<string, string[]>;
  readonly quotas: Map<string, { bytes: number; used: number }>;
}

/** A datagram that arrives at the host. */
export interface FakeDatagram {
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** Length of the payload. */
  readonly bytes: number;
}

const HEADER_BYTES = { 4: 28, 6: 48 };
const OK: CommandResult = { code: 0, stdout: '', stderr: '' };

/**
 * What `nft -i` and `ip` do, as far as this package relies on it: transactions, errors, tables that vanish with their
 * process; and, with {@link forward}, what the rules of a relay do to a datagram.
 */
export class FakeKernel implements System {
  /** By `family name`. */
  readonly tables: Map<string, FakeTable> = new Map();
  readonly children: FakeChild[] = [];
  /** Lines, as written. */
  readonly lines: string[] = [];
  readonly files: Map<string, string> = new Map();
  /** Packets of named counters; zero after they were read. */
  readonly counters: Map<string, number> = new Map();
  /** Counters of a new element. */
  initial: { packets: number; bytes: number } = { packets: 0, bytes: 0 };
  /** Makes every start of nft fail so. */
  startFailure: { reason: string; missing: boolean; output?: string } | undefined;
  /** Returns the error for a command, as the kernel would. */
  reject: (command: string) => string | undefined = () => undefined;
  /** Network devices and their addresses, as {@link host} tells them. */
  devices: { name: string; addresses: readonly string[] }[] = [];
  /** Answers `run`. */
  respond: (program: string, args: readonly string[], input: string) => CommandResult = () => OK;

  /**
   * A host that has addresses, on one device, and a route to everything but `unreachable`.
   * @example const kernel = FakeKernel.host(['203.0.113.10']);
   */
  static host(
    addresses: readonly string[],
    { unreachable = [] }: { unreachable?: readonly string[] } = {},
  ): FakeKernel {
    const kernel = new FakeKernel();
    kernel.devices = [{ name: 'eth0', addresses }];
    kernel.respond = (_program, args, input) => {
      if (args.includes('addr')) return { ...OK, stdout: linksOf(kernel.devices) };
      const routes = input.split('\n').flatMap((line) => {
        const [, , to, , from] = line.split(' ');
        if (to === undefined || unreachable.includes(to) || addresses.includes(to)) return [];
        const source = from === undefined ? { prefsrc: addresses[0] } : { from };
        return [
          JSON.stringify([{ dst: to, ...source, gateway: to.includes(':') ? 'fe80::1' : '203.0.113.1', dev: 'eth0' }]),
        ];
      });
      return { ...OK, stdout: routes.join('\n') };
    };
    return kernel;
  }

  startNft(handlers: ProgramHandlers): ProgramChild {
    const child = new FakeChild(this, handlers);
    this.children.push(child);
    return child;
  }

  /** Answers the lines of one write together, with {@link respond}. */
  startIp({ onOutput, onExit }: ProgramHandlers): ProgramChild {
    let ended = false;
    return {
      write: (text) => {
        const lines = text.trim().split('\n');
        const mark = lines.pop();
        queueMicrotask(() => {
          if (ended) return;
          const { code, stdout, stderr } = this.respond('ip', ['-batch', '-'], lines.join('\n'));
          if (code === undefined) onExit(stderr, /\bENOENT\b/.test(stderr));
          else onOutput(`${stdout}\nObject "${mark}" is unknown, try "ip help".\nCommand failed -:1\n`);
        });
        return text.length;
      },
      kill: () => {
        ended = true;
      },
    };
  }

  async run(program: 'nft' | 'ip', args: readonly string[], options: { input?: string } = {}): Promise<CommandResult> {
    return this.respond(program, args, options.input ?? '');
  }

  async readFile(path: string): Promise<string | undefined> {
    return this.files.get(path);
  }

  /** Elements of a map of the only table of a family. */
  elements(family: string, map: string): Map<string, string | undefined> {
    const tables = [...this.tables].filter(([id]) => id.startsWith(`${family} `));
    if (tables.length !== 1) throw new Error(`${tables.length} tables of ${family}`);
    return new Map([...tables[0]![1].maps.get(map)!].map(([key, { value }]) => [key, value]));
  }

  /**
   * Does to a datagram what the relay's rules in the `netdev` form do, rates and control patterns apart.
   * @returns with which addresses it leaves; `dropped` over a quota; undefined when it reaches the host's sockets
   */
  forward({ from, to, bytes }: FakeDatagram): { from: Endpoint; to: Endpoint } | 'dropped' | undefined {
    const session = this.#sessionOf(from, to);
    if (session === undefined) return undefined;
    const { quota, counter, headerBytes, ...out } = session;
    const size = bytes + headerBytes;
    if (quota !== undefined) {
      quota.used += size;
      if (quota.used > quota.bytes) return 'dropped';
    }
    counter.packets++;
    counter.bytes += size;
    return out;
  }

  /** Returns with which addresses a datagram would leave, quotas apart. */
  target(from: Endpoint, to: Endpoint): { from: Endpoint; to: Endpoint } | undefined {
    const session = this.#sessionOf(from, to);
    return session && { from: session.from, to: session.to };
  }

  #sessionOf(from: Endpoint, to: Endpoint) {
    const family = from.address.includes(':') ? 6 : 4;
    for (const [id, { maps, chains, quotas }] of this.tables) {
      if (!id.startsWith('netdev ')) continue;
      const key = `${from.address} . ${from.port} . ${to.address} . ${to.port}`;
      const fields = maps.get(`sessions${family}`)?.get(key)?.value;
      if (fields === undefined) continue;
      const { alias, number, ...target } = rewritten(fields, family);
      const quota = quotas.get(unquoted(maps.get(`quotas${family}`)?.get(alias)?.value));
      const chain = chains.get(maps.get('egress')?.get(number)?.value?.replace('goto ', '') ?? '')?.at(-1) ?? '';
      const counter = maps.get(/ @(from_port\d+)/.exec(chain)?.[1] ?? '')?.get(number);
      const address = / saddr set (\S+)/.exec(chain)?.[1];
      if (counter?.value === undefined || address === undefined) {
        throw new Error(`The session of ${key} is not complete.`);
      }
      const source = { address, port: Number(counter.value) };
      return { from: source, to: target, quota, counter, headerBytes: HEADER_BYTES[family] };
    }
    return undefined;
  }
}

export class FakeChild implements ProgramChild {
  readonly #kernel: FakeKernel;
  readonly #handlers: ProgramHandlers;
  readonly #owned: string[] = [];
  #input = '';
  #undo: (() => void)[] = [];
  ended = false;
  /** Answers nothing. */
  stopped = false;

  constructor(kernel: FakeKernel, handlers: ProgramHandlers) {
    this.#kernel = kernel;
    this.#handlers = handlers;
    const failure = kernel.startFailure;
    if (failure === undefined) return;
    this.ended = true;
    queueMicrotask(() => {
      if (failure.output !== undefined) handlers.onOutput(failure.output);
      handlers.onExit(failure.reason, failure.missing);
    });
  }

  write(text: string): number {
    if (this.ended) return 0;
    this.#input += text;
    queueMicrotask(() => this.#work());
    return text.length;
  }

  kill(): void {
    this.end('SIGKILL');
  }

  end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    for (const table of this.#owned) this.#kernel.tables.delete(table);
    queueMicrotask(() => this.#handlers.onExit(reason, false));
  }

  #work(): void {
    if (this.stopped || this.ended) return;
    for (let end = this.#input.indexOf('\n'); end >= 0; end = this.#input.indexOf('\n')) {
      const line = this.#input.slice(0, end);
      this.#input = this.#input.slice(end + 1);
      this.#kernel.lines.push(line);
      if (this.#kernel.lines.length > MAX_LINES) this.#kernel.lines.shift();
      this.#handlers.onOutput(this.#run(line));
      if (this.ended) return;
    }
  }

  /** All commands of a line take effect, or none. */
  #run(line: string): string {
    let output = '';
    this.#undo = [];
    for (const command of line.split(/; (?=add |delete |get |list |flush |reset )/)) {
      const result = this.#kernel.reject(command) ?? this.#command(command);
      if (result.includes('Error:')) {
        for (const undo of this.#undo.reverse()) undo();
        return `${result}\n${line}\n^^^^\n`;
      }
      output += result;
    }
    return output;
  }

  #command(command: string): string {
    const [verb, what, family, table = '', name = ''] = command.split(' ');
    if (verb === undefined || !['add', 'delete', 'get', 'list', 'flush', 'reset'].includes(verb)) {
      return 'Error: syntax error, unexpected newline, expecting string';
    }
    if (verb === 'add' && what === 'table') return this.#addTable(`${family} ${table}`);
    if (verb === 'list' && what === 'chains') return this.#chains(family ?? '');
    if (verb === 'reset') return this.#reset(command.split(' ').slice(3).join(' '));
    const found = this.#kernel.tables.get(`${family} ${table}`);
    if (found === undefined) return NONE;
    switch (`${verb} ${what}`) {
      case 'add map':
      case 'add set':
        return this.#set(found.maps, name, new Map());
      case 'add chain':
        return this.#set(found.chains, name, []);
      case 'add rule':
        found.chains.get(name)?.push(command.split(' ').slice(5).join(' '));
        return '';
      case 'add quota':
        return this.#set(found.quotas, name, {
          bytes: Number(/over (\d+) bytes/.exec(command)?.[1]),
          used: Number(/used (\d+) bytes/.exec(command)?.[1] ?? 0),
        });
      case 'delete quota':
        return this.#delete(found.quotas, name);
      case 'delete chain':
        return this.#delete(found.chains, name);
      case 'list map':
      case 'list set':
        return listed(found.maps.get(name));
      case 'flush set':
        found.maps.get(name)?.clear();
        return '';
      case 'add element':
      case 'delete element':
      case 'get element':
        return this.#elements(verb, command, found.maps.get(name));
      default:
        return '';
    }
  }

  #addTable(id: string): string {
    this.#owned.push(id);
    return this.#set(this.#kernel.tables, id, { maps: new Map(), chains: new Map(), quotas: new Map() });
  }

  #elements(verb: string, command: string, elements: Map<string, FakeElement> | undefined): string {
    if (elements === undefined) return NONE;
    const inside = command.slice(command.indexOf('{') + 1, command.lastIndexOf('}'));
    const found: string[] = [];
    for (const part of inside.split(',')) {
      const [key = '', value] = part.split(' : ').map((each) => each.trim());
      const there = elements.get(key);
      if (verb === 'add' && there !== undefined && there.value !== value) return 'Error: File exists';
      if (verb !== 'add' && there === undefined) return NONE;
      if (verb === 'add' && there === undefined) this.#set(elements, key, { value, ...this.#kernel.initial });
      if (verb === 'delete') this.#delete(elements, key);
      if (verb === 'get') {
        found.push(`${key} counter packets ${there!.packets} bytes ${there!.bytes}${value ? ` : ${value}` : ''}`);
      }
    }
    return verb === 'get' ? `table x {\n\tmap x {\n\t\telements = { ${found.join(',\n')} }\n\t}\n}\n` : '';
  }

  #reset(id: string): string {
    if (!this.#kernel.tables.has(id)) return NONE;
    const counters = [...this.#kernel.counters].map(([name, packets]) => ({ counter: { name, packets } }));
    this.#kernel.counters.clear();
    return `${JSON.stringify({ nftables: counters })}\n`;
  }

  #chains(family: string): string {
    const chains = [...this.#kernel.tables].flatMap(([id, { chains }]) => {
      const [of, table] = id.split(' ');
      return of === family ? [...chains.keys()].map((name) => ({ chain: { family, table, name } })) : [];
    });
    return `${JSON.stringify({ nftables: chains })}\n`;
  }

  #set<Value>(map: Map<string, Value>, key: string, value: Value): string {
    const before = map.get(key);
    map.set(key, value);
    this.#undo.push(() => (before === undefined ? map.delete(key) : map.set(key, before)));
    return '';
  }

  #delete<Value>(map: Map<string, Value>, key: string): string {
    const before = map.get(key);
    if (before === undefined) return NONE;
    map.delete(key);
    this.#undo.push(() => map.set(key, before));
    return '';
  }
}

const NONE = 'Error: No such file or directory';
/** Lines that are kept to be looked at. */
const MAX_LINES = 10_000;

function listed(elements: Map<string, FakeElement> | undefined): string {
  const elem = [...(elements ?? [])].map(([key, { value, packets, bytes }]) => [
    { elem: { val: { concat: key.split(' . ') }, counter: { packets, bytes } } },
    value,
  ]);
  return `${JSON.stringify({ nftables: [{ map: { elem } }] })}\n`;
}

function linksOf(devices: FakeKernel['devices']): string {
  const links = devices.map(({ name, addresses }, at) => {
    return { ifindex: at + 1, ifname: name, addr_info: addresses.map((local) => ({ local })) };
  });
  return JSON.stringify(links);
}

function unquoted(value: string | undefined): string {
  return value?.replaceAll('"', '') ?? '';
}

/** What a relay writes at once: an alias for the source, the destination, an alias for the source port, the destination's port. */
function rewritten(fields: string, family: 4 | 6): Endpoint & { alias: string; number: string } {
  const digits = fields.slice(2);
  const length = family === 4 ? 8 : 32;
  const [source, destination] = [digits.slice(0, length), digits.slice(length, 2 * length)];
  const number = Number.parseInt(source.slice(-8), 16);
  return {
    alias: addressText(source),
    number: String(number),
    address: addressText(destination),
    port: Number.parseInt(digits.slice(2 * length + 4), 16),
  };
}

function addressText(digits: string): string {
  if (digits.length === 8)
    return digits
      .match(/../g)!
      .map((octet) => Number.parseInt(octet, 16))
      .join('.');
  const words = digits.match(/..../g)!.map((word) => Number.parseInt(word, 16).toString(16));
  return words.slice(0, 6).every((word) => word === '0')
    ? `::${words[6]}:${words[7]}`
    : new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}

/**
 * `npm run lock`: names the optional packages of other platforms in package-lock.json. npm leaves out those that the
 * registry at hand does not carry, and then refuses its own lock file in `npm ci`. Platforms are read off the names.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface Entry {
  version?: string;
  optional?: boolean;
  dev?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

interface Lock {
  packages: Record<string, Entry>;
}

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'aix', 'win32'];
const PROCESSORS = ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 'riscv64', 's390x', 'loong64', 'mips64el', 'wasm32'];

const lock: Lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const added: string[] = [];
for (const [parent, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(optionalDependencies)) {
    const path = `node_modules/${name}`;
    if (path in lock.packages || `${parent}/${path}` in lock.packages) continue;
    if (!/^\d+\.\d+\.\d+/.test(range))
      throw new Error(`${parent} wants ${name} ${range}: no exact version to write down.`);
    lock.packages[path] = { version: range, ...platformOf(name), ...(dev ? { dev } : {}), optional: true };
    added.push(name);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added.length} optional packages of other platforms were added.`);

/** `@biomejs/cli-linux-x64-musl` → { os: ['linux'], cpu: ['x64'], libc: ['musl'] }. */
function platformOf(name: string): Pick<Entry, 'os' | 'cpu' | 'libc'> {
  const parts = name.split(/[/-]/);
  const os = SYSTEMS.find((system) => parts.includes(system));
  const cpu = PROCESSORS.find((processor) => parts.includes(processor));
  const musl = parts.some((part) => part.startsWith('musl'));
  const gnu = parts.some((part) => part.startsWith('gnu'));
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(musl ? { libc: ['musl'] } : gnu ? { libc: ['glibc'] } : {}),
    ...(os === undefined ? {} : { os: [os] }),
  };
}

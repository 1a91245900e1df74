/**
 * `npm run bench` lists the benches; `npm run bench -- NAME [--quick] [--json]` runs one; `-- all --write` runs every
 * one and writes bench/RESULTS.md.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Bench, type BenchResult, machine, table } from './support/bench.ts';

const folder = import.meta.dirname;
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length))
  .sort();

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

async function load(name: string): Promise<Bench> {
  const module: { bench: Bench } = await import(`./${name}.bench.ts`);
  return module.bench;
}

async function runOne(name: string): Promise<BenchResult> {
  const bench = await load(name);
  const print = values.json ? () => {} : (line: string) => console.error(line);
  print(`${name}: ${bench.about}`);
  const rows = await bench.run({ quick: values.quick, print });
  return { bench: name, machine: machine(), rows };
}

function results(all: BenchResult[]): string {
  const { cpu, cores, memoryGiB, node, platform } = machine();
  const parts = [
    '# Benchmarks',
    '',
    'Written by `npm run bench -- all --write`; one of them alone: `npm run bench -- NAME`.',
    'Every figure stands beside a baseline that ran in the same process of measuring; compare the ratios, the machine is shared.',
    '',
    `Machine: ${cpu}, ${cores} cores, ${memoryGiB} GiB, Node ${node}, ${platform}.`,
  ];
  for (const result of all) parts.push('', `## ${result.bench}`, '', abouts.get(result.bench) ?? '', '', table(result));
  // What system tests have measured, which takes long and needs root.
  parts.push('', readFileSync(join(folder, 'MESH.md'), 'utf8').trim());
  return `${parts.join('\n')}\n`;
}

const abouts = new Map<string, string>();
const [name] = positionals;
if (name === undefined) {
  for (const known of names) console.log(`${known.padEnd(14)} ${(await load(known)).about}`);
  console.log('\nnpm run bench -- NAME [--quick] [--json]');
} else if (name === 'all') {
  const all: BenchResult[] = [];
  for (const known of names) {
    abouts.set(known, (await load(known)).about);
    const result = await runOne(known);
    all.push(result);
    console.log(values.json ? JSON.stringify(result) : `${table(result)}\n`);
  }
  if (values.write) writeFileSync(join(folder, 'RESULTS.md'), results(all));
} else if (names.includes(name)) {
  const result = await runOne(name);
  console.log(values.json ? JSON.stringify(result) : table(result));
} else {
  console.error(`There is no bench "${name}". Known: ${names.join(', ')}.`);
  process.exitCode = 2;
}

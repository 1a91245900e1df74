/**
 * `npm run bench` lists the benches; `npm run bench -- NAME [--quick] [--json]` runs one, `all` every one. With `--write` the
 * table is replaced in bench/RESULTS.md.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Bench, type BenchResult, machine, table } from './support/bench.ts';
import { replaceTable } from './support/results-file.ts';

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

/** Writes the table of a result into RESULTS.md, and leaves what stands there besides. */
async function write(result: BenchResult): Promise<void> {
  const { about } = await load(result.bench);
  const file = join(folder, 'RESULTS.md');
  writeFileSync(file, replaceTable(readFileSync(file, 'utf8'), result, about));
}

/** Prints what a bench measured. A bench that cannot run is said, and no reason to leave out the others. */
async function tell(known: string): Promise<void> {
  try {
    const result = await runOne(known);
    console.log(values.json ? JSON.stringify(result) : `${table(result)}\n`);
    if (values.write) await write(result);
  } catch (error) {
    console.error(`${known}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

const [name] = positionals;
if (values.quick && values.write) {
  console.error('A short run gives rough figures, which are not written: leave out --quick or --write.');
  process.exitCode = 2;
} else if (name === undefined) {
  for (const known of names) console.log(`${known.padEnd(14)} ${(await load(known)).about}`);
  console.log('\nnpm run bench -- NAME [--quick] [--json] [--write]');
} else if (name === 'all' || names.includes(name)) {
  for (const known of name === 'all' ? names : [name]) await tell(known);
} else {
  console.error(`There is no bench "${name}". Known: ${names.join(', ')}.`);
  process.exitCode = 2;
}

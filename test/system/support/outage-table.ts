/**
 * Prints a table of the outages that the tests have written to a file, whose name is the argument (TOWPATH_SURVIVE_FILE): number,
 * median, 99th percentile and largest of each disturbance, ms.
 */
import { readFileSync } from 'node:fs';

const outages = new Map<string, number[]>();
for (const line of readFileSync(process.argv[2]!, 'utf8').split('\n')) {
  if (line === '') continue;
  const { name, outageMs } = JSON.parse(line) as { name: string; outageMs: number };
  outages.set(name, [...(outages.get(name) ?? []), outageMs]);
}
console.log('| disturbance | runs | p50, ms | p99, ms | largest, ms |\n| --- | --- | --- | --- | --- |');
for (const [name, values] of outages) {
  const sorted = values.toSorted((a, b) => a - b);
  const quantile = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  console.log(`| ${name} | ${sorted.length} | ${quantile(0.5)} | ${quantile(0.99)} | ${sorted.at(-1)} |`);
}

/**
 * Runs every test layer that this machine can run, names what it left out and why, and ends with `N passed, N failed`.
 * With CI=true a skipped test counts as failed. Arguments are handed to vitest: `npm test -- packages/core`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface AssertionResult {
  fullName: string;
  status: 'passed' | 'failed' | 'skipped' | 'pending' | 'todo' | 'disabled';
}

interface Report {
  success: boolean;
  numPassedTests: number;
  numFailedTests: number;
  numFailedTestSuites: number;
  testResults: { name: string; status: string; assertionResults: AssertionResult[] }[];
}

const ci = process.env.CI === 'true';
const root = process.getuid?.() === 0 && process.platform === 'linux';
const folder = mkdtempSync(join(tmpdir(), 'towpath-test-'));
const reportFile = join(folder, 'report.json');
const extra = process.argv.slice(2);

const projects = root || ci ? [] : ['--project', 'packages'];
if (extra.length === 0) {
  const minutes = projects.length === 0 ? 'about 30 minutes, most of it in the system layer' : 'about ten minutes';
  console.log(`All tests take ${minutes} on two idle cores.`);
}
const startedAt = performance.now();
const vitest = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...projects,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportFile}`,
    ...extra,
  ],
  { stdio: 'inherit' },
);

let report: Report | undefined;
try {
  report = JSON.parse(readFileSync(reportFile, 'utf8'));
} catch (error) {
  console.error(`The test runner left no report: ${error instanceof Error ? error.message : error}`);
}
rmSync(folder, { recursive: true, force: true });

if (!(root || ci)) {
  console.log(
    'Left out: the system layer (network namespaces, foreign programs). It needs Linux and root: sudo npm test',
  );
}
const skipped = (report?.testResults ?? []).flatMap(({ assertionResults }) =>
  assertionResults.filter(({ status }) => status !== 'passed' && status !== 'failed'),
);
if (skipped.length > 0) {
  console.log('Left out, because something that they need is missing here:');
  for (const { fullName } of skipped) console.log(`  ${fullName}`);
}

const brokenSuites = (report?.testResults ?? []).filter(
  ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
).length;
const passed = report?.numPassedTests ?? 0;
const failed = (report?.numFailedTests ?? 1) + brokenSuites + (ci ? skipped.length : 0);
console.log(`${((performance.now() - startedAt) / 60_000).toFixed(1)} minutes`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(vitest.status === 0 && failed === 0 && passed > 0 ? 0 : 1);

import { formatEndpoint } from '@towpath/net';
import { RaceStatistics } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DaemonMetrics } from '../src/daemon/metrics/daemon-metrics.ts';
import { racePage } from '../src/serve/race-metrics.ts';
import { CommandLine } from './command-line.ts';

interface Family {
  type: string;
  help: string;
  samples: { name: string; labels: Record<string, string>; value: number }[];
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (NaN|[+-]Inf|[-+\d.eE]+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/g;

/**
 * Reads the text exposition format, version 0.0.4, as Prometheus does: every line is HELP, TYPE or a sample of the family
 * whose TYPE came before it, and a family is in one piece.
 */
function parsePage(page: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let current = '';
  for (const line of page.split('\n')) {
    if (line === '') continue;
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      if (families.has(name)) throw new Error(`${name} is there twice`);
      families.set(name, { type: '', help: rest, samples: [] });
      current = name;
      continue;
    }
    const family = families.get(current);
    if (kind === 'TYPE') {
      if (family === undefined || current !== name || family.type !== '') throw new Error(`stray TYPE: ${line}`);
      family.type = rest;
      continue;
    }
    const [, sample = '', labelText = '', value = ''] = SAMPLE.exec(line) ?? [];
    const base = family?.type === 'histogram' ? sample.replace(/_(bucket|sum|count)$/, '') : sample;
    if (family === undefined || base !== current) throw new Error(`stray line: ${line}`);
    const labels: Record<string, string> = {};
    for (const [, label = '', text = ''] of labelText.matchAll(LABEL)) labels[label] = text;
    if (labelText.replaceAll(LABEL, '') !== '') throw new Error(`bad labels: ${line}`);
    family.samples.push({ name: sample, labels, value: Number(value.replace('Inf', 'Infinity')) });
  }
  return families;
}

/** What `promtool check metrics` asks for, and more. */
function expectConventions(page: string): Map<string, Family> {
  const families = parsePage(page);
  for (const [name, { type, help, samples }] of families) {
    expect([name, /^towpath(_[a-z0-9]+)+$/.test(name)]).toEqual([name, true]);
    expect([name, ['counter', 'gauge', 'histogram'].includes(type)]).toEqual([name, true]);
    expect([name, help.length > 2]).toEqual([name, true]);
    expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
    // Base units only, and no unit or type in the middle of a name.
    expect([name, /_(ms|milliseconds|minutes|kb|mb|kilobytes|percent)(_|$)/.test(name)]).toEqual([name, false]);
    expect([name, /_(counter|gauge|histogram|bucket|sum|count)$/.test(name)]).toEqual([name, false]);
    const keys = samples.map(
      ({ name: each, labels }) => `${each} ${JSON.stringify(Object.entries(labels).toSorted())}`,
    );
    expect([name, new Set(keys).size]).toEqual([name, keys.length]);
    if (type === 'counter') {
      for (const { value } of samples) expect([name, value >= 0 && Number.isFinite(value)]).toEqual([name, true]);
    }
    if (type === 'histogram') expectHistogram(name, samples);
  }
  return families;
}

function expectHistogram(name: string, samples: Family['samples']): void {
  const series = Map.groupBy(samples, ({ labels: { le: _, ...labels } }) => JSON.stringify(labels));
  for (const each of series.values()) {
    const buckets = each.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => Number(labels.le?.replace('+Inf', 'Infinity')));
    expect([name, bounds]).toEqual([name, bounds.toSorted((a, b) => a - b)]);
    const counts = buckets.map(({ value }) => value);
    expect([name, counts]).toEqual([name, counts.toSorted((a, b) => a - b)]);
    if (buckets.length === 0) continue;
    expect([name, bounds.at(-1)]).toEqual([name, Number.POSITIVE_INFINITY]);
    expect([name, counts.at(-1)]).toEqual([name, each.find((sample) => sample.name === `${name}_count`)?.value]);
  }
}

describe('Prometheus pages keep the conventions of names and types (A10)', { timeout: 60_000 }, () => {
  let commandLine: CommandLine;
  beforeEach(() => {
    commandLine = new CommandLine();
  });
  afterEach(() => commandLine[Symbol.dispose]());

  async function pageOf(args: readonly string[]): Promise<string> {
    const running = commandLine.start([...args, '--json', '--metrics-port', '0']);
    const [metrics] = await running.listening('metrics');
    const page = await (await fetch(`http://${formatEndpoint(metrics!)}/metrics`)).text();
    await running.stop();
    return page;
  }

  test('of serve', async () => {
    const families = expectConventions(await pageOf(['serve', '--port', '0', '--stun-port', '0', '--open']));
    expect(families.get('towpath_turn_allocations')?.type).toBe('gauge');
    expect(families.get('towpath_control_requests_total')?.type).toBe('counter');
    expect(families.get('towpath_control_request_seconds')?.type).toBe('histogram');
  });

  test('of relay serve', async () => {
    const secret = ['--secret-file', commandLine.file('secret'), '--create-secret'];
    const families = expectConventions(await pageOf(['relay', 'serve', '--port', '0', ...secret]));
    expect(families.size).toBeGreaterThan(20);
  });

  test('of the daemon', async () => {
    const source = { parties: () => [], cameras: () => [], subscribers: () => 2 };
    const metrics = new DaemonMetrics({ clock: new VirtualClock(), source });
    expect(expectConventions(await metrics.page()).size).toBeGreaterThan(15);
  });

  test('of races: what only grows is a counter', async () => {
    const families = expectConventions(await racePage({ 'a "camera"\n': new RaceStatistics().snapshot() }));
    expect([...families].map(([name, { type }]) => [name, type])).toEqual([
      ['towpath_race_attempts_total', 'counter'],
      ['towpath_race_wins_total', 'counter'],
      ['towpath_race_cancelled_total', 'counter'],
      ['towpath_race_failures_total', 'counter'],
      ['towpath_race_connect_seconds', 'histogram'],
    ]);
  });

  test.each([
    ['a counter without _total', '# HELP towpath_x x x\n# TYPE towpath_x counter\ntowpath_x 1\n'],
    ['a gauge with _total', '# HELP towpath_x_total x x\n# TYPE towpath_x_total gauge\ntowpath_x_total 1\n'],
    ['milliseconds', '# HELP towpath_x_ms x x\n# TYPE towpath_x_ms gauge\ntowpath_x_ms 1\n'],
    ['a sample without a type', 'towpath_x 1\n'],
    ['a sample twice', '# HELP towpath_x x x\n# TYPE towpath_x gauge\ntowpath_x 1\ntowpath_x 2\n'],
  ])('the check finds %s', (_what, page) => {
    expect(() => expectConventions(page)).toThrow();
  });
});

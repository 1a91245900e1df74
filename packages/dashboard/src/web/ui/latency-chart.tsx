import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { LatencySample, PathSpan } from '../../api/peers.ts';
import { useWidth } from '../lib/hooks.ts';
import { formatMs, formatTime } from '../lib/format.ts';
import { latencySeries, latencySummary } from '../lib/latency.ts';
import { useTheme } from '../lib/theme.ts';
import { PathStripe } from './path-stripe.tsx';

const AXIS_WIDTH = 58;
const RIGHT = 8;
const HEIGHT = 210;

/** Latency over the last two hours, coloured by the kind of path; below it, on the same time axis, the paths. */
export function LatencyChart({
  samples,
  timeline,
  fromMs,
  toMs,
}: {
  samples: readonly LatencySample[];
  timeline: readonly PathSpan[];
  fromMs: number;
  toMs: number;
}) {
  const [holder, width] = useWidth<HTMLDivElement>();
  const chart = useRef<uPlot | undefined>(undefined);
  const scheme = useTheme().shown;
  const range = useRef({ fromMs, toMs });
  range.current = { fromMs, toMs };

  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours are those of the scheme
  useEffect(() => {
    const element = holder.current;
    if (element === null || width === 0) return;
    const made = new uPlot(chartOptions(element, width, range), latencySeries([]), element);
    chart.current = made;
    return () => {
      made.destroy();
      chart.current = undefined;
    };
  }, [scheme, width]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a chart that is made anew needs its data again
  useEffect(() => {
    chart.current?.setData(latencySeries(samples));
  }, [samples, scheme, width, fromMs, toMs]);

  return (
    <div>
      <div ref={holder} className="chart" role="img" aria-label={latencySummary(samples)} style={{ height: HEIGHT }} />
      <div style={{ paddingLeft: AXIS_WIDTH, paddingRight: RIGHT }}>
        <PathStripe timeline={timeline} fromMs={fromMs} toMs={toMs} />
      </div>
    </div>
  );
}

function chartOptions(
  element: HTMLElement,
  width: number,
  range: { readonly current: { readonly fromMs: number; readonly toMs: number } },
): uPlot.Options {
  const style = getComputedStyle(element);
  // Custom properties are light-dark() pairs: a probe gives the colour that is in force.
  const probe = document.createElement('span');
  probe.style.transition = 'none';
  element.append(probe);
  const colour = (name: string): string => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const [muted, line, accent, relay] = [colour('muted'), colour('line'), colour('accent'), colour('relay')];
  probe.remove();
  const font = `12px ${style.fontFamily}`;
  const series = (stroke: string, label: string): uPlot.Series => ({
    label,
    stroke,
    width: 1.5,
    points: { show: false },
    spanGaps: false,
  });
  return {
    width,
    height: HEIGHT,
    padding: [10, RIGHT, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    scales: {
      x: { time: false, range: () => [range.current.fromMs, range.current.toMs] },
      y: { range: (_chart, _low, high) => [0, Math.max(5, (high ?? 5) * 1.15)] },
    },
    axes: [
      {
        stroke: muted,
        font,
        grid: { show: false },
        ticks: { show: false },
        size: 26,
        gap: 6,
        space: 90,
        incrs: [1, 2, 5, 10, 15, 20, 30, 60].map((minutes) => minutes * 60_000),
        values: (_chart, ticks) => ticks.map((tick) => formatTime(tick)),
      },
      {
        stroke: muted,
        font,
        grid: { stroke: line, width: 1 },
        ticks: { show: false },
        size: AXIS_WIDTH,
        gap: 10,
        space: 44,
        values: (_chart, ticks) => ticks.map((tick) => `${tick} ms`),
      },
    ],
    series: [{}, series(accent, 'direct'), series(relay, 'relay')],
    hooks: { init: [addReadout] },
  };
}

/** Writes the value under the cursor into a corner of the chart. */
function addReadout(chart: uPlot): void {
  const readout = document.createElement('div');
  readout.className = 'chart-readout';
  chart.over.append(readout);
  const show = (): void => {
    const { idx } = chart.cursor;
    const at = idx === null || idx === undefined ? undefined : chart.data[0][idx];
    const ms = idx === null || idx === undefined ? undefined : (chart.data[1]?.[idx] ?? chart.data[2]?.[idx]);
    readout.textContent = at === undefined ? '' : `${formatTime(at)}  ${ms == null ? 'not reached' : formatMs(ms)}`;
  };
  chart.hooks.setCursor = [show];
  chart.over.addEventListener('mouseleave', () => {
    readout.textContent = '';
  });
}

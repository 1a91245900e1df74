/** At least this much difference fills the height, as a share of the largest value: noise is not shown as a mountain. */
const LEAST_RANGE = 0.25;
/** Room for the line's own width, px. */
const MARGIN = 1.5;

/** Path data of a line through values, oldest first, with gaps where one is null; empty with fewer than two values. */
export function sparkline(values: readonly (number | null)[], width: number, height: number): string {
  const known = values.filter((value): value is number => value !== null);
  if (known.length < 2) return '';
  const highest = Math.max(...known);
  const lowest = Math.min(...known);
  const range = Math.max(highest - lowest, highest * LEAST_RANGE, Number.EPSILON);
  const floor = (highest + lowest) / 2 - range / 2;
  const step = (width - 2 * MARGIN) / Math.max(1, values.length - 1);
  let path = '';
  let pen = false;
  values.forEach((value, index) => {
    if (value === null) {
      pen = false;
      return;
    }
    const x = round(MARGIN + index * step);
    const y = round(height - MARGIN - ((value - floor) / range) * (height - 2 * MARGIN));
    path += `${pen ? 'L' : 'M'}${x} ${y}`;
    pen = true;
  });
  return path;
}

const round = (value: number): number => Math.round(value * 10) / 10;

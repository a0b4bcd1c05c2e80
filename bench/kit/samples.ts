/** From measured values to what is published of them. */

export interface Summary {
  readonly samples: number;
  readonly median: number;
  readonly p95: number;
  readonly min: number;
}

export function summarise(values: readonly number[]): Summary {
  return {
    samples: values.length,
    median: rounded(quantile(values, 0.5)),
    p95: rounded(quantile(values, 0.95)),
    min: rounded(quantile(values, 0)),
  };
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** With linear interpolation between the two nearest values. */
function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * q;
  const low = sorted[Math.floor(place)]!;
  const high = sorted[Math.ceil(place)]!;
  return low + (high - low) * (place - Math.floor(place));
}

/** Three significant digits are more than a run repeats; four are kept. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

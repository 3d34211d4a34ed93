/** The summary of a series of measurements. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** Returns the percentile `p` (0 to 1) of the values: the nearest measured value. */
export function percentile(values: readonly number[], p: number): number {
  if (values.length === 0) throw new Error("no measurement to take a percentile of");
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] as number;
}

/** Returns the median; for an even number of values the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("no measurement to take a median of");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

export function summarize(values: readonly number[]): Summary {
  return {
    count: values.length,
    min: Math.min(...values),
    median: median(values),
    max: Math.max(...values),
  };
}

/**
 * Returns the ratio of `values` to `base`: the median of the ratios within each round, so that noise that
 * slows a whole round cancels out. Series of different lengths are compared by their medians.
 */
export function ratio(values: readonly number[], base: readonly number[]): number {
  if (values.length !== base.length) return median(values) / median(base);
  return median(values.map((value, round) => value / (base[round] as number)));
}

/**
 * A histogram for hot paths: observing is a loop over a few bounds and two additions on a typed array, without labels,
 * hashes or allocation. Prometheus' form is made when somebody scrapes.
 */

export class Distribution {
  readonly #bounds: readonly number[];
  /** Per bound, not cumulative; one more for what is above all bounds. */
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Hot path. */
  observe(value: number): void {
    let index = 0;
    const bounds = this.#bounds;
    while (index < bounds.length && value > bounds[index]!) index++;
    this.#counts[index]! += 1;
    this.#sum += value;
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  get sum(): number {
    return this.#sum;
  }

  /** Pairs of upper bound and how many were at most that; the last bound is infinite. */
  cumulative(): readonly (readonly [bound: number, count: number])[] {
    let count = 0;
    return Array.from(this.#counts, (more, index) => {
      count += more;
      return [this.#bounds[index] ?? Number.POSITIVE_INFINITY, count] as const;
    });
  }

  /**
   * The value below which the share `q` of all lies, linear within a bucket, as Prometheus' histogram_quantile; `since`
   * is an earlier cumulative(), to look at an interval. Null when there is nothing.
   */
  quantile(q: number, since?: readonly (readonly [bound: number, count: number])[]): number | null {
    const buckets = this.cumulative().map(
      ([bound, count], index) => [bound, count - (since?.[index]?.[1] ?? 0)] as const,
    );
    const total = buckets.at(-1)![1];
    if (total === 0) return null;
    const rank = q * total;
    const index = buckets.findIndex(([, count]) => count >= rank);
    const [upper, upTo] = buckets[index]!;
    const [lower, before] = buckets[index - 1] ?? [0, 0];
    if (upper === Number.POSITIVE_INFINITY) return lower;
    return lower + ((upper - lower) * (rank - before)) / Math.max(upTo - before, 1);
  }
}

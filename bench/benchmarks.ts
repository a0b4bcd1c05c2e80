/** The benchmarks there are. */
import { render as renderRefresh } from './refresh/render.ts';
import { type RefreshResult, run as runRefresh } from './refresh/run.ts';

export interface Benchmark {
  readonly name: string;
  readonly title: string;
  run(parameters: readonly string[], note: (line: string) => void): Promise<unknown>;
  /** Markdown, of what run() gave or of what it gave long ago. */
  render(result: unknown): string;
}

export const benchmarks: readonly Benchmark[] = [
  {
    name: 'refresh',
    title:
      'keeping read models in step: tviews against the write alone, SQL by hand, row triggers and REFRESH',
    run: runRefresh,
    render: (result) => renderRefresh(result as RefreshResult),
  },
];

/** The benchmarks there are. */
import { render as renderApply } from './apply/render.ts';
import { type ApplyResult, run as runApply } from './apply/run.ts';
import { render as renderAutocommit } from './autocommit/render.ts';
import { type AutocommitResult, run as runAutocommit } from './autocommit/run.ts';
import { render as renderBreakdown } from './breakdown/render.ts';
import { type BreakdownResult, run as runBreakdown } from './breakdown/run.ts';
import { render as renderCapture } from './capture/render.ts';
import { type CaptureResult, run as runCapture } from './capture/run.ts';
import { render as renderConcurrency } from './concurrency/render.ts';
import { type ConcurrencyResult, run as runConcurrency } from './concurrency/run.ts';
import { render as renderRefresh } from './refresh/render.ts';
import { type RefreshResult, run as runRefresh } from './refresh/run.ts';
import { render as renderRelay } from './relay/render.ts';
import { type RelayResult, run as runRelay } from './relay/run.ts';
import { render as renderSession } from './session/render.ts';
import { run as runSession, type SessionResult } from './session/run.ts';

export interface Benchmark {
  readonly name: string;
  readonly title: string;
  /** @param keep given what there is so far, so that a long run that is interrupted leaves something */
  run(
    parameters: readonly string[],
    note: (line: string) => void,
    keep: (result: unknown) => void,
  ): Promise<unknown>;
  /** Markdown, of what run() gave or of what it gave long ago. */
  render(result: unknown): string;
}

export const benchmarks: readonly Benchmark[] = [
  {
    name: 'refresh',
    title: 'tviews against the write alone, SQL by hand, row triggers and REFRESH',
    run: runRefresh,
    render: (result) => renderRefresh(result as RefreshResult),
  },
  {
    name: 'capture',
    title: 'what recording a bulk UPDATE costs',
    run: runCapture,
    render: (result) => renderCapture(result as CaptureResult),
  },
  {
    name: 'autocommit',
    title: 'a single write outside a transaction',
    run: runAutocommit,
    render: (result) => renderAutocommit(result as AutocommitResult),
  },
  {
    name: 'breakdown',
    title: 'where the time of a claimed transaction goes',
    run: runBreakdown,
    render: (result) => renderBreakdown(result as BreakdownResult),
  },
  {
    name: 'concurrency',
    title: 'what writers of one tview cost each other',
    run: runConcurrency,
    render: (result) => renderConcurrency(result as ConcurrencyResult),
  },
  {
    name: 'apply',
    title: 'making a tview: how long it takes, and how long writers wait for it',
    run: runApply,
    render: (result) => renderApply(result as ApplyResult),
  },
  {
    name: 'relay',
    title: 'pgbench -S through us, through PgBouncer, through a relay that does nothing, and direct',
    run: runRelay,
    render: (result) => renderRelay(result as RelayResult),
  },
  {
    name: 'session',
    title: 'what our own code costs per query',
    run: runSession,
    render: (result) => renderSession(result as SessionResult),
  },
];

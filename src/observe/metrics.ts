/**
 * The metrics of one process. Hot paths keep plain numbers (Distribution, the pools' own counts); what Prometheus wants
 * is put together when somebody scrapes.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from 'prom-client';
import { type Declaration, declarations } from './declarations.ts';
import { Distribution } from './distribution.ts';

/** What made a flush necessary. */
export type FlushTrigger = 'commit' | 'read' | 'opaque' | 'late';

/** One tview's part of a flush; `tview` is its name with the schema. */
export interface FlushedTview {
  readonly tview: string;
  readonly keys: number;
  readonly written: number;
  readonly deleted: number;
  readonly unchanged: number;
}

/** A pool as it is at the moment of a scrape: how many connections are in which state. */
export interface PoolSnapshot {
  readonly database: string;
  readonly clients: Readonly<Record<string, number>>;
  readonly servers: Readonly<Record<string, number>>;
}

/** A tview that "tviews apply" is building, or giving columns, named with its schema. */
export interface BuildingTview {
  readonly database: string;
  readonly tview: string;
}

/** A tview that is suspended, named with its schema. */
export interface SuspendedTview {
  readonly database: string;
  readonly tview: string;
  /** The command that brings it in step. */
  readonly resume: string;
}

/** What the background verifier knows of one tview, which is named with its schema. */
export interface VerifiedTview {
  readonly database: string;
  readonly tview: string;
  /** Compared since the start. */
  readonly rows: number;
  readonly divergentRows: number;
  /** When a pass over all rows last ended, in milliseconds since 1970; null before the first. */
  readonly lastPassAt: number | null;
  /** Why it could not be compared, last time; null where it could. */
  readonly problem: string | null;
}

/** Times of one database, observed in seconds on the hot path. */
export interface DatabaseTimes {
  readonly wait: Distribution;
  readonly transaction: Distribution;
  readonly query: Distribution;
}

/** Sums since the start, for the status page and the demo's live line. */
export interface RefreshTotals {
  readonly flushes: number;
  readonly rows: number;
}

export interface Metrics {
  readonly registry: Registry;
  /** A flush succeeded: its duration and the database's report. */
  flushed(trigger: FlushTrigger, seconds: number, report: readonly FlushedTview[]): void;
  flushFailed(sqlstate: string): void;
  /** A change arrived; `source` is the table's name, or its id where the name is not known. */
  changed(source: string): void;
  clientLoggedIn(): void;
  cancelRequested(): void;
  closed(reason: string): void;
  /** The distributions of a database: take them once, not per query. */
  timesOf(database: string): DatabaseTimes;
  /** Where to find the pools when somebody scrapes. */
  watchPools(pools: () => Iterable<PoolSnapshot>): void;
  /** Where to find which tviews nobody keeps in step. */
  watchSuspended(suspended: () => Iterable<SuspendedTview>): void;
  watchBuilding(building: () => Iterable<BuildingTview>): void;
  /** Where to find what the background verifier found. */
  watchVerification(verified: () => Iterable<VerifiedTview>): void;
  watchStatements(store: { readonly size: number; readonly bytes: number }): void;
  readonly flushDuration: Distribution;
  readonly totals: RefreshTotals;
  /** The page: text and content type. */
  scrape(): Promise<{ readonly text: string; readonly contentType: string }>;
}

export interface MetricsOptions {
  readonly version?: string;
  /** The process' own metrics, event-loop lag among them. Off in tests that make many. */
  readonly process?: boolean;
}

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (options.process !== false) collectDefaultMetrics({ register: registry });

  const counter = (declared: Declaration): Counter =>
    new Counter({ name: declared.name, help: declared.help, labelNames: declared.labels, registers });
  const gauge = (declared: Declaration, collect?: (gauge: Gauge) => void): Gauge =>
    new Gauge({
      name: declared.name,
      help: declared.help,
      labelNames: declared.labels,
      registers,
      ...(collect === undefined
        ? {}
        : {
            collect(this: Gauge) {
              collect(this);
            },
          }),
    });

  const flushes = counter(declarations.flushes);
  const refreshedRows = counter(declarations.refreshedRows);
  const noopRows = counter(declarations.noopRows);
  const flushFailures = counter(declarations.flushFailures);
  const closes = counter(declarations.closes);
  const clientLogins = counter(declarations.clientLogins);
  const cancels = counter(declarations.cancels);
  const refreshKeys = new Histogram({
    name: declarations.refreshKeys.name,
    help: declarations.refreshKeys.help,
    buckets: [...declarations.refreshKeys.buckets],
    registers,
  });
  gauge(declarations.buildInfo).set(
    { version: options.version ?? 'unknown', node: process.versions.node },
    1,
  );

  // A bulk load sends a change per statement: a plain number each.
  const changesBySource = new Map<string, number>();
  new Counter({
    name: declarations.changes.name,
    help: declarations.changes.help,
    labelNames: declarations.changes.labels,
    registers,
    collect() {
      this.reset();
      for (const [source, count] of changesBySource) this.inc({ source }, count);
    },
  });

  let pools: () => Iterable<PoolSnapshot> = () => [];
  const byState = (kind: 'clients' | 'servers') => (target: Gauge) => {
    target.reset();
    for (const pool of pools()) {
      // Added up: one database has a pool per user.
      for (const [state, count] of Object.entries(pool[kind]))
        target.inc({ database: pool.database, state }, count);
    }
  };
  gauge(declarations.clients, byState('clients'));
  gauge(declarations.servers, byState('servers'));

  let suspended: () => Iterable<SuspendedTview> = () => [];
  gauge(declarations.suspended, (target) => {
    target.reset();
    for (const { database, tview } of suspended()) target.set({ database, tview }, 1);
  });

  let building: () => Iterable<BuildingTview> = () => [];
  gauge(declarations.building, (target) => {
    target.reset();
    for (const { database, tview } of building()) target.set({ database, tview }, 1);
  });

  let verified: () => Iterable<VerifiedTview> = () => [];
  gauge(declarations.verifyDivergentRows, (target) => {
    target.reset();
    for (const { database, tview, divergentRows } of verified())
      target.set({ database, tview }, divergentRows);
  });
  gauge(declarations.verifyLastPass, (target) => {
    target.reset();
    for (const { database, tview, lastPassAt } of verified()) {
      if (lastPassAt !== null) target.set({ database, tview }, lastPassAt / 1000);
    }
  });
  new Counter({
    name: declarations.verifiedRows.name,
    help: declarations.verifiedRows.help,
    labelNames: declarations.verifiedRows.labels,
    registers,
    collect() {
      this.reset();
      for (const { database, tview, rows } of verified()) this.inc({ database, tview }, rows);
    },
  });

  let statements = { size: 0, bytes: 0 };
  gauge(declarations.statements, (target) => target.set(statements.size));
  gauge(declarations.statementBytes, (target) => target.set(statements.bytes));

  const flushDuration = new Distribution(declarations.flushDuration.buckets);
  expose(registry, declarations.flushDuration, () => [[{}, flushDuration]]);
  const times = new Map<string, DatabaseTimes>();
  for (const kind of ['wait', 'transaction', 'query'] as const) {
    expose(registry, declarations[kind], () =>
      Array.from(times, ([database, of]) => [{ database }, of[kind]] as const),
    );
  }

  const totals = { flushes: 0, rows: 0 };
  return {
    registry,
    flushDuration,
    totals,
    flushed: (trigger, seconds, report) => {
      flushes.inc({ trigger });
      flushDuration.observe(seconds);
      totals.flushes += 1;
      let keys = 0;
      for (const { tview, keys: ofTview, written, deleted, unchanged } of report) {
        keys += ofTview;
        totals.rows += written + deleted;
        if (written > 0) refreshedRows.inc({ tview, op: 'write' }, written);
        if (deleted > 0) refreshedRows.inc({ tview, op: 'delete' }, deleted);
        if (unchanged > 0) noopRows.inc({ tview }, unchanged);
      }
      refreshKeys.observe(keys);
    },
    flushFailed: (sqlstate) => flushFailures.inc({ sqlstate }),
    changed: (source) => {
      changesBySource.set(source, (changesBySource.get(source) ?? 0) + 1);
    },
    clientLoggedIn: () => clientLogins.inc(),
    cancelRequested: () => cancels.inc(),
    closed: (reason) => closes.inc({ reason }),
    timesOf: (database) => {
      const known = times.get(database);
      if (known !== undefined) return known;
      const made: DatabaseTimes = {
        wait: new Distribution(declarations.wait.buckets),
        transaction: new Distribution(declarations.transaction.buckets),
        query: new Distribution(declarations.query.buckets),
      };
      times.set(database, made);
      return made;
    },
    watchPools: (watched) => {
      pools = watched;
    },
    watchSuspended: (watched) => {
      suspended = watched;
    },
    watchBuilding: (watched) => {
      building = watched;
    },
    watchVerification: (watched) => {
      verified = watched;
    },
    watchStatements: (store) => {
      statements = store;
    },
    scrape: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  };
}

/** Shows distributions as one Prometheus histogram. */
function expose(
  registry: Registry,
  { name, help }: Declaration,
  distributions: () => readonly (readonly [labels: Readonly<Record<string, string>>, Distribution])[],
): void {
  const metric = {
    name,
    help,
    get: () => ({
      name,
      help,
      type: 'histogram',
      values: distributions().flatMap(([labels, distribution]) => [
        ...distribution.cumulative().map(([bound, value]) => ({
          metricName: `${name}_bucket`,
          labels: { le: Number.isFinite(bound) ? bound : '+Inf', ...labels },
          value,
        })),
        { metricName: `${name}_sum`, labels, value: distribution.sum },
        { metricName: `${name}_count`, labels, value: distribution.count },
      ]),
    }),
  };
  // All that a registry asks of a metric is get(); the type wants one of prom-client's own classes.
  registry.registerMetric(metric as unknown as Metric);
}

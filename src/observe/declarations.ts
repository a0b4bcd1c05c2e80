/** Every metric of ours, declared once: name, kind, help and labels. Documentation, dashboard and code take it from here. */

export interface Declaration {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
}

/** From 100 µs to 100 s, three a decade: a flush of one row and a backfill are both in it. */
const seconds = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 100,
] as const;
const keys = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 100_000, 1_000_000] as const;

export const declarations = {
  flushes: {
    name: 'tviews_flushes_total',
    kind: 'counter',
    help: 'Flushes that succeeded, by what made them necessary',
    labels: ['trigger'],
  },
  flushDuration: {
    name: 'tviews_flush_duration_seconds',
    kind: 'histogram',
    help: 'Time from sending a flush to its result',
    labels: [],
    buckets: seconds,
  },
  refreshedRows: {
    name: 'tviews_refreshed_rows_total',
    kind: 'counter',
    help: 'Rows of tviews written or deleted by flushes',
    labels: ['tview', 'op'],
  },
  noopRows: {
    name: 'tviews_noop_rows_total',
    kind: 'counter',
    help: 'Rows recomputed by flushes and found unchanged',
    labels: ['tview'],
  },
  refreshKeys: {
    name: 'tviews_refresh_keys',
    kind: 'histogram',
    help: 'Keys one flush recomputed, over all tviews',
    labels: [],
    buckets: keys,
  },
  changes: {
    name: 'tviews_changes_total',
    kind: 'counter',
    help: 'Changes of sources received from the database',
    labels: ['source'],
  },
  flushFailures: {
    name: 'tviews_flush_failures_total',
    kind: 'counter',
    help: 'Flushes that failed, and their transactions with them',
    labels: ['sqlstate'],
  },
  verifyDivergentRows: {
    name: 'tviews_verify_divergent_rows',
    kind: 'gauge',
    help: 'Rows that differ from the definition, by the background verifier: of its last full pass, or of this one where it has found more already',
    labels: ['database', 'tview'],
  },
  verifiedRows: {
    name: 'tviews_verified_rows_total',
    kind: 'counter',
    help: 'Rows the background verifier has compared with the definition',
    labels: ['database', 'tview'],
  },
  verifyLastPass: {
    name: 'tviews_verify_last_pass_timestamp_seconds',
    kind: 'gauge',
    help: 'When the background verifier last had compared every row, in seconds since 1970; absent before',
    labels: ['database', 'tview'],
  },
  suspended: {
    name: 'tviews_suspended',
    kind: 'gauge',
    help: '1 for each tview that is suspended, and so stale',
    labels: ['database', 'tview'],
  },
  building: {
    name: 'tviews_building',
    kind: 'gauge',
    help: '1 for each tview that is being built, or has got columns that are being filled',
    labels: ['database', 'tview'],
  },
  clients: {
    name: 'tviews_clients',
    kind: 'gauge',
    help: 'Client connections by state',
    labels: ['database', 'state'],
  },
  servers: {
    name: 'tviews_servers',
    kind: 'gauge',
    help: 'Server connections by state',
    labels: ['database', 'state'],
  },
  wait: {
    name: 'tviews_wait_seconds',
    kind: 'histogram',
    help: 'Time a client waited for a server connection',
    labels: ['database'],
    buckets: seconds,
  },
  transaction: {
    name: 'tviews_transaction_seconds',
    kind: 'histogram',
    help: 'Duration of transactions',
    labels: ['database'],
    buckets: seconds,
  },
  query: {
    name: 'tviews_query_seconds',
    kind: 'histogram',
    help: 'Time from a request to the ReadyForQuery that answers it',
    labels: ['database'],
    buckets: seconds,
  },
  clientLogins: {
    name: 'tviews_client_logins_total',
    kind: 'counter',
    help: 'Clients that logged in',
    labels: [],
  },
  cancels: {
    name: 'tviews_cancels_total',
    kind: 'counter',
    help: 'Cancel requests received from clients',
    labels: [],
  },
  closes: {
    name: 'tviews_closes_total',
    kind: 'counter',
    help: 'Connections closed by the proxy, of clients and servers, by reason',
    labels: ['reason'],
  },
  statements: {
    name: 'tviews_statements',
    kind: 'gauge',
    help: 'Prepared statements in the store',
    labels: [],
  },
  statementBytes: {
    name: 'tviews_statement_bytes',
    kind: 'gauge',
    help: 'Size of the texts in the store of prepared statements',
    labels: [],
  },
  buildInfo: {
    name: 'tviews_build_info',
    kind: 'gauge',
    help: 'Always 1; the version is in the labels',
    labels: ['version', 'node'],
  },
} as const satisfies Readonly<Record<string, Declaration>>;

/** docs/metrics.md. */
export function metricsDocument(): string {
  const rows = Object.values(declarations).map(
    ({ name, kind, labels, help }) =>
      `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`,
  );
  return `# Metrics

<!-- Generated by \`npm run generate\` from src/observe/declarations.ts. -->

Prometheus text on \`/metrics\` of the HTTP port (\`metrics_addr\`, \`metrics_port\`). Besides these there are the usual
\`process_*\` and \`nodejs_*\` ones, with the event loop's lag.

| name | kind | labels | meaning |
|---|---|---|---|
${rows.join('\n')}
`;
}

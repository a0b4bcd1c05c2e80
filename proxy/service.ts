/** A whole process' worth: the proxy, its metrics and the HTTP port. What `tviews proxy` and the demo run. */
import { packageVersion } from '../src/cli/package.ts';
import type { Settings } from '../src/config/settings.ts';
import type { Logger } from '../src/observe/log.ts';
import { createMetrics, type Metrics } from '../src/observe/metrics.ts';
import { type HttpServer, startHttp } from './http/server.ts';
import type { StatusPage } from './http/status-page.ts';
import { type RunningProxy, startProxy } from './main.ts';

export interface Service {
  readonly proxy: RunningProxy;
  readonly metrics: Metrics;
  /** Null with metrics_port = 0. */
  readonly http: HttpServer | null;
  close(graceMs?: number): Promise<void>;
}

/** @throws TviewsError when a port cannot be had; then nothing is left running. */
export async function startService(settings: Settings, log: Logger): Promise<Service> {
  const metrics = createMetrics({ version: packageVersion() });
  const proxy = await startProxy(settings, { log, metrics });
  const { metrics_addr: host, metrics_port: port } = settings.tviews;
  try {
    const http =
      port === 0
        ? null
        : await startHttp({
            host,
            port,
            register: metrics.registry,
            ready: () => proxy.ready(),
            status: () => statusPage(proxy, metrics),
            log,
          });
    return {
      proxy,
      metrics,
      http,
      // The HTTP port last: /readyz says that we are draining.
      close: async (graceMs) => {
        await proxy.close(graceMs);
        await http?.close();
      },
    };
  } catch (error) {
    await proxy.close();
    throw error;
  }
}

export function statusPage(proxy: RunningProxy, metrics: Metrics): StatusPage {
  const milliseconds = (seconds: number | null): string =>
    seconds === null ? '–' : `${(seconds * 1000).toFixed(1)} ms`;
  const states = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([state, count]) => `${count} ${state}`)
      .join(', ');
  return {
    title: `tview-proxy ${packageVersion()}`,
    sections: [
      {
        kind: 'facts',
        heading: 'Process',
        facts: [
          ['listening on', proxy.addresses.join(', ')],
          ['up for', `${Math.floor(process.uptime())} s`],
          ['memory', `${Math.round(process.memoryUsage.rss() / 1_048_576)} MB`],
        ],
      },
      {
        kind: 'facts',
        heading: 'Refresh',
        facts: [
          ['flushes', metrics.totals.flushes],
          ['rows written', metrics.totals.rows],
          ['flush, median', milliseconds(metrics.flushDuration.quantile(0.5))],
          ['flush, 99th percentile', milliseconds(metrics.flushDuration.quantile(0.99))],
        ],
      },
      {
        kind: 'table',
        heading: 'Pools',
        columns: ['database', 'clients', 'servers'],
        rows: proxy
          .pools()
          .map(({ database, clients, servers }) => [database, states(clients), states(servers)]),
      },
      {
        kind: 'table',
        heading: 'Suspended',
        columns: ['database', 'tview', 'to bring it in step'],
        rows: proxy.suspended().map(({ database, tview, resume }) => [database, tview, resume]),
      },
      {
        kind: 'table',
        heading: 'Being built',
        columns: ['database', 'tview'],
        rows: proxy.building().map(({ database, tview }) => [database, tview]),
      },
      {
        kind: 'table',
        heading: 'Verification',
        columns: ['database', 'tview', 'rows compared', 'divergent rows', 'last full pass', 'problem'],
        rows: proxy
          .verification()
          .map(({ database, tview, rows, divergentRows, lastPassAt, problem }) => [
            database,
            tview,
            rows,
            divergentRows,
            lastPassAt === null ? 'not yet' : new Date(lastPassAt).toISOString(),
            problem,
          ]),
      },
    ],
  };
}

/** A proxy in this process, in front of a test's database: on a free port, stopped at the end of the test. */
import { onTestFinished } from 'vitest';
import { type RunningProxy, startProxy } from '../../proxy/main.ts';
import { loadSettings } from '../../src/config/load.ts';
import { createLogger, silentLogger } from '../../src/observe/log.ts';
import { createMetrics, type Metrics } from '../../src/observe/metrics.ts';
import type { FreshDatabase, Login } from './database.ts';

export interface TestProxyOptions {
  readonly poolMode?: 'session' | 'transaction' | 'statement';
  readonly poolSize?: number;
  /** More lines of section [pgbouncer]. */
  readonly pgbouncer?: Readonly<Record<string, string | number>>;
  /** Lines of section [tviews]. */
  readonly tviews?: Readonly<Record<string, string | number>>;
}

export interface TestProxy extends RunningProxy {
  readonly metrics: Metrics;
  /** The URL of a login, through the proxy. */
  url(login: Login): string;
}

/** Every role of the database keeps its own name on the server; passwords come from the database's roles. */
export async function testProxy(database: FreshDatabase, options: TestProxyOptions = {}): Promise<TestProxy> {
  const settings = loadSettings({ file: 'test.ini', read: () => proxyFile(database, options), env: {} });
  const metrics = createMetrics({ process: false });
  const log =
    process.env.TVIEWS_TEST_LOG === undefined
      ? silentLogger()
      : createLogger({ level: 'debug', format: 'pretty' });
  const logins = new Map(
    [database.owner, database.app, database.superuser].map((login) => [login.role, login.password]),
  );
  const proxy = await startProxy({ ...settings, logins }, { log, metrics });
  onTestFinished(() => proxy.close());
  return {
    port: proxy.port,
    addresses: proxy.addresses,
    ready: () => proxy.ready(),
    pools: () => proxy.pools(),
    suspended: () => proxy.suspended(),
    building: () => proxy.building(),
    verification: () => proxy.verification(),
    close: (graceMs) => proxy.close(graceMs),
    metrics,
    url: (login: Login) => {
      const url = new URL(login.url);
      url.port = String(proxy.port);
      url.hostname = '127.0.0.1';
      return url.href;
    },
  };
}

export function proxyFile(database: FreshDatabase, options: TestProxyOptions): string {
  const lines = (settings: Readonly<Record<string, string | number>>): string =>
    Object.entries(settings)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join('');
  return `[databases]
${database.name} = host=${database.host} port=${database.port}
[pgbouncer]
${lines({
  listen_addr: '127.0.0.1',
  listen_port: 0,
  auth_type: 'trust',
  pool_mode: options.poolMode ?? 'transaction',
  default_pool_size: options.poolSize ?? 5,
  max_client_conn: 500,
  ...options.pgbouncer,
})}[tviews]
${lines({
  owner_user: database.owner.role,
  owner_password: database.owner.password,
  // A test that asks for it gets it; the others have their connections to themselves.
  verify_interval: 0,
  ...options.tviews,
})}`;
}

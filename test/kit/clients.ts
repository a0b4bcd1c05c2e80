/** Small helpers for tests with many clients: connect, vanish, wait for something. */
import pg from 'pg';
import type { Metrics } from '../../src/observe/metrics.ts';

/** A node-postgres client that may lose its connection at any time: whoever waits for a query is told, nobody else. */
export async function connectTo(url: string, config: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = new pg.Client({ ...config, connectionString: url });
  client.on('error', () => {}); // the query under way rejects; between queries the next one does
  await client.connect();
  return client;
}

/** The client's machine is gone: no Terminate, no goodbye. */
export function vanish(client: pg.Client): void {
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection;
  stream.destroy();
}

/** Waits for what must become true, however slow the machine is. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; ) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain until ${what}`);
}

/** A metric's value, summed over the series whose labels contain `labels`; 0 where there is none. */
export async function metric(metrics: Metrics, name: string, labels = ''): Promise<number> {
  const { text } = await metrics.scrape();
  let sum = 0;
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
    if (line.includes(labels)) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}

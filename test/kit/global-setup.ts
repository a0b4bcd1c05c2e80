/** One PostgreSQL for the whole run of the integration tests, or the one TVIEWS_TEST_DATABASE_URL names. */
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { startTestPostgres } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL. Tests do not use it directly: freshDatabase() gives each a database of its own. */
    readonly serverUrl: string;
    /** Major version: tests of what older servers do not have are skipped there, and say so. */
    readonly serverVersion: number;
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.TVIEWS_TEST_DATABASE_URL;
  if (given !== undefined && given !== '') {
    project.provide('serverUrl', given);
    project.provide('serverVersion', await majorVersion(given));
    return undefined;
  }
  const server = await startTestPostgres();
  project.provide('serverUrl', server.url);
  project.provide('serverVersion', await majorVersion(server.url));
  return () => server.remove();
}

async function majorVersion(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num');
    return Math.floor(Number(rows[0]!.server_version_num) / 10_000);
  } finally {
    await client.end();
  }
}

/** One PostgreSQL for the whole run of the integration tests, or the one TVIEWS_TEST_DATABASE_URL names. */
import { randomBytes } from 'node:crypto';
import type { TestProject } from 'vitest/node';
import { dropPlacesOf, withClient } from './places.ts';
import { startTestPostgres } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL. Tests do not use it directly: freshDatabase() gives each a database of its own. */
    readonly serverUrl: string;
    /** Major version: tests of what older servers do not have are skipped there, and say so. */
    readonly serverVersion: number;
    /** In the names of the run's databases and roles. */
    readonly runName: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const runName = randomBytes(3).toString('hex');
  project.provide('runName', runName);
  const given = process.env.TVIEWS_TEST_DATABASE_URL;
  if (given !== undefined && given !== '') {
    project.provide('serverUrl', given);
    project.provide('serverVersion', await majorVersion(given));
    return () => dropPlacesOf(given, runName);
  }
  const server = await startTestPostgres();
  project.provide('serverUrl', server.url);
  project.provide('serverVersion', await majorVersion(server.url));
  return () => server.remove();
}

const majorVersion = (url: string): Promise<number> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num');
    return Math.floor(Number(rows[0]!.server_version_num) / 10_000);
  });

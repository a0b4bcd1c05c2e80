/** One PostgreSQL for the whole run of the integration tests, or the one TVIEWS_TEST_DATABASE_URL names. */
import type { TestProject } from 'vitest/node';
import { startTestPostgres } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL. Tests do not use it directly: freshDatabase() gives each a database of its own. */
    readonly serverUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.TVIEWS_TEST_DATABASE_URL;
  if (given !== undefined && given !== '') {
    project.provide('serverUrl', given);
    return undefined;
  }
  const server = await startTestPostgres();
  project.provide('serverUrl', server.url);
  return () => server.remove();
}

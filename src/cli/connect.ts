/** From a database URL to a SqlExecutor over one node-postgres connection. A server that is not there is one sentence. */
import pg from 'pg';
import type { SqlExecutor } from '../database/executor.ts';
import { executorOf } from '../database/node-postgres.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';

export interface Connection extends SqlExecutor {
  readonly client: pg.Client;
  /** Called with the text of each NOTICE and WARNING. */
  onNotice(listener: (severity: string, message: string) => void): void;
  /** Asks the server, over another connection, to end the statement that runs. */
  cancel(): Promise<void>;
  close(): Promise<void>;
}

export async function connect(url: string, applicationName = 'tviews'): Promise<Connection> {
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol)) {
    throw new TviewsError(SqlState.invalidParameterValue, 'the database URL is not a postgres:// URL', {
      hint: 'It looks like postgres://user:password@host:5432/database.',
    });
  }
  const client = new pg.Client({
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: 15_000,
  });
  // An idle connection that is lost says so at the next query; without a listener Node would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw describeFailure(new URL(url), error);
  }
  return {
    client,
    ...executorOf(client),
    onNotice: (listener) => {
      client.on('notice', ({ severity, message }) => listener(severity ?? 'NOTICE', message ?? ''));
    },
    cancel: async () => {
      const { processID } = client as pg.Client & { readonly processID: number | null };
      const other = await connect(url, applicationName);
      try {
        await other.query('SELECT pg_catalog.pg_cancel_backend($1)', [processID]);
      } finally {
        await other.close();
      }
    },
    close: () => client.end(),
  };
}

/** Host, port and what to do; never the URL, which holds the password. */
function describeFailure(url: URL, error: unknown): Error {
  const place = `${url.hostname || 'localhost'}:${url.port || '5432'}`;
  const { code, message } = firstOf(error);
  switch (code) {
    case 'ECONNREFUSED':
      return new TviewsError(SqlState.connectionFailure, `no server is listening at ${place}`, {
        hint: 'Check host and port of the database URL, and that the server runs.',
        cause: error,
      });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new TviewsError(SqlState.connectionFailure, `host "${url.hostname}" is not known`, {
        hint: 'Check the host of the database URL.',
        cause: error,
      });
    default:
      // The server's own refusals (28P01, 3D000, 53300…) keep their SQLSTATE and words.
      return new TviewsError(
        code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? code : SqlState.connectionFailure,
        `could not connect to ${place}: ${message}`,
        { cause: error },
      );
  }
}

/** A name with several addresses fails with one error per address. */
function firstOf(error: unknown): { code?: string | undefined; message: string } {
  if (error instanceof AggregateError && error.errors.length > 0) return firstOf(error.errors[0]);
  return error as { code?: string; message: string };
}

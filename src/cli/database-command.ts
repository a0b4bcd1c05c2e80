/** What the commands that work in a database share: --database-url, --json, connecting and closing. */
import type { Command } from 'commander';
import { type Connection, connect } from './connect.ts';
import { type Outcome, type Reporter, runCommand, type Surroundings, UsageError } from './terminal.ts';

interface DatabaseOptions {
  readonly databaseUrl?: string;
  readonly json?: boolean;
}

/**
 * Completes a command: its options, and `work` on a connection. `work` gets commander's arguments and the command's
 * options; the server's notices go to standard error.
 */
export function onDatabase<Options extends object>(
  command: Command,
  surroundings: Surroundings,
  work: (
    connection: Connection,
    parameters: readonly string[],
    options: Options,
    reporter: Reporter,
  ) => Promise<Outcome>,
): Command {
  return command
    .option(
      '--database-url <url>',
      'the database, postgres://user:password@host:port/name (default: DATABASE_URL)',
    )
    .option('--json', 'print one JSON document')
    .action(async () => {
      const options = command.opts<Options & DatabaseOptions>();
      await runCommand(surroundings, options.json === true, async (reporter) => {
        const url = options.databaseUrl ?? surroundings.env.DATABASE_URL;
        if (url === undefined || url === '') {
          throw new UsageError('no database given', 'Give --database-url, or set DATABASE_URL.');
        }
        const connection = await connect(url);
        try {
          connection.onNotice((severity, message) => reporter.note(`${severity}: ${message}`));
          return await work(connection, command.processedArgs.flat() as string[], options, reporter);
        } finally {
          await connection.close();
        }
      });
    });
}

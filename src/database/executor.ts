/**
 * The one way our library talks to PostgreSQL: the command line hands in a node-postgres client, the proxy hands in
 * the client's own server connection. Everything in database/ and definition/ works over this interface.
 */
export interface SqlExecutor {
  /**
   * Runs one statement (or, without values, several) and gives the rows of the last one, values decoded as
   * node-postgres decodes them by default. Rejects with a {@link DatabaseError}-shaped error that keeps the server's
   * SQLSTATE in `code` and its `position`, `detail` and `hint`.
   */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<Row[]>;
}

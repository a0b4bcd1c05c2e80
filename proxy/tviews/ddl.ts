/** CREATE TVIEW, DROP TVIEW and pg_tviews' forms, typed into psql or a migration: run in the client's transaction. */
import type { SqlExecutor } from '../../src/database/executor.ts';
import type { Advice, Located, TviewStatement } from '../../src/definition/plan.ts';
import {
  looksLikeTviewStatement,
  parseTviewStatements,
  pointIntoText,
} from '../../src/definition/statement.ts';
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import type { OwnResult } from '../relay/answers.ts';
import { linkExecutor } from '../relay/link-executor.ts';
import type { TviewDdl } from '../relay/ports.ts';
import type { Session } from '../relay/session.ts';
import { TransactionStatus } from '../wire/codes.ts';
import type { Catalog } from './catalog.ts';
import type { DatabaseSessionRefresh } from './session-refresh.ts';

const FUNCTION_FORM = /^\s*select\s/i;

export class SessionTviewDdl implements TviewDdl {
  readonly #catalog: Catalog | null;
  readonly #refresh: DatabaseSessionRefresh | null;

  constructor(catalog: Catalog | null, refresh: DatabaseSessionRefresh | null) {
    this.#catalog = catalog;
    this.#refresh = refresh;
  }

  recognises(text: string): boolean {
    return looksLikeTviewStatement(text);
  }

  rowColumn(text: string): string | null {
    if (!FUNCTION_FORM.test(text)) return null;
    return /pg_tviews_drop/i.test(text) ? 'pg_tviews_drop' : 'pg_tviews_create';
  }

  async run(text: string, session: Session, alone: boolean): Promise<OwnResult> {
    const link = session.link;
    if (link === null) throw new TviewsError(SqlState.internalError, 'no server to run the statement on');
    if (link.status === TransactionStatus.failed) {
      throw new TviewsError(
        '25P02',
        'current transaction is aborted, commands ignored until end of transaction block',
      );
    }
    const executor = linkExecutor(link);
    const own = link.status === TransactionStatus.idle;
    if (own) await executor.query('BEGIN');
    try {
      // Up to Sync is one transaction for the client, and this statement ends in one of its own, as CREATE DATABASE does.
      if (!alone) {
        throw new TviewsError(
          SqlState.activeSqlTransaction,
          'a statement that creates or drops a tview cannot be followed by others in a pipeline',
          { hint: 'Send Sync behind each of them.' },
        );
      }
      const statements = await parseTviewStatements(text);
      // What the transaction owes is flushed first: the statement may change the very tviews it is owed to.
      const owed = this.#refresh?.takeOwed() ?? null;
      if (owed !== null) await executor.query('SELECT tviews.flush($1::jsonb, true)', [owed]);
      let result: OwnResult = { tag: 'CREATE TVIEW', notices: [] };
      for (const located of statements) result = await this.#runOne(executor, located, text);
      if (!own) this.#refresh?.onTviewsChanged();
      if (own) await executor.query('COMMIT');
      await this.#catalog?.reload();
      return result;
    } catch (error) {
      // In the client's own transaction the server has marked it as failed, or we make it so.
      if (own) await executor.query('ROLLBACK');
      else if (session.link?.status === TransactionStatus.inTransaction) await failTransaction(session);
      throw error;
    }
  }

  async #runOne(executor: SqlExecutor, located: Located<TviewStatement>, text: string): Promise<OwnResult> {
    // Loaded on first use: a proxy that only relays never pays for the compiler and its grammar.
    const { applyTview, dropTview } = await import('../../src/database/apply.ts');
    const { statement } = located;
    if (statement.kind === 'drop') {
      const { action } = await dropTview(executor, statement);
      const missing = action === 'skipped' ? `tview "${statement.name}" does not exist, skipping` : null;
      return this.#result(text, 'DROP TVIEW', `TVIEW '${statement.name}' dropped successfully`, missing, []);
    }
    try {
      const { action, advice } = await applyTview(executor, statement);
      const existing = action === 'skipped' ? `tview "${statement.name}" already exists, skipping` : null;
      return this.#result(
        text,
        'CREATE TVIEW',
        `TVIEW '${statement.name}' created successfully`,
        existing,
        advice,
      );
    } catch (error) {
      throw pointIntoText(error, text, located);
    }
  }

  /** The statement forms answer with their tag, the function forms with one row. */
  #result(
    text: string,
    tag: string,
    sentence: string,
    notice: string | null,
    advice: readonly Advice[],
  ): OwnResult {
    const column = this.rowColumn(text);
    return {
      tag: column === null ? tag : 'SELECT 1',
      notices: [
        ...(notice === null ? [] : [{ severity: 'NOTICE' as const, message: notice }]),
        ...advice.map(({ message, hint }) => ({ severity: 'WARNING' as const, message, hint })),
      ],
      ...(column === null ? {} : { row: { column, value: sentence } }),
    };
  }
}

/** An error of ours in the client's transaction has to abort it, as one of the server's would. */
async function failTransaction(session: Session): Promise<void> {
  const link = session.link;
  if (link === null) return;
  await linkExecutor(link)
    .query('DO $$ BEGIN RAISE EXCEPTION $x$tview statement failed$x$; END $$')
    .catch(() => {}); // the error is the purpose
}

/** CREATE TVIEW, DROP TVIEW and pg_tviews' forms, typed into psql or a migration: run in the client's transaction. */
import type { TviewStatement } from '../../src/definition/plan.ts';
import { looksLikeTviewStatement, parseTviewStatements } from '../../src/definition/statement.ts';
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

  async run(text: string, session: Session): Promise<OwnResult> {
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
    const statements = await parseTviewStatements(text);
    // What the transaction owes is flushed first: the statement may change the very tviews it is owed to.
    const owed = this.#refresh?.takeOwed() ?? null;
    if (owed !== null) await executor.query('SELECT tviews.flush($1::jsonb, true)', [owed]);
    if (own) await executor.query('BEGIN');
    try {
      let result: OwnResult = { tag: 'CREATE TVIEW', notices: [] };
      for (const { statement } of statements) result = await this.#runOne(executor, statement, text);
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

  async #runOne(
    executor: ReturnType<typeof linkExecutor>,
    statement: TviewStatement,
    text: string,
  ): Promise<OwnResult> {
    // Loaded on first use: a proxy that only relays never pays for the compiler and its grammar.
    const { applyTview, dropTview } = await import('../../src/database/apply.ts');
    const column = this.rowColumn(text);
    if (statement.kind === 'drop') {
      await dropTview(executor, statement);
      const row =
        column === null ? {} : { row: { column, value: `TVIEW '${statement.name}' dropped successfully` } };
      return { tag: column === null ? 'DROP TVIEW' : 'SELECT 1', notices: [], ...row };
    }
    const applied = await applyTview(executor, statement).catch((error: unknown) => {
      throw placedIn(text, statement.query, error);
    });
    const notices = applied.advice.map((advice) => ({
      severity: 'WARNING' as const,
      message: advice.message,
      hint: advice.hint,
    }));
    if (applied.action === 'skipped') {
      notices.push({
        severity: 'NOTICE' as never,
        message: `tview "${statement.name}" already exists, skipping`,
        hint: '',
      });
    }
    const row =
      column === null ? {} : { row: { column, value: `TVIEW '${statement.name}' created successfully` } };
    return { tag: column === null ? 'CREATE TVIEW' : 'SELECT 1', notices, ...row };
  }
}

/** The server's places are in the definition's query; the client looks at the statement it has sent. */
function placedIn(text: string, query: string, error: unknown): unknown {
  if (!(error instanceof TviewsError) || error.position === undefined) return error;
  const { code, message, detail, hint } = error;
  const start = text.indexOf(query);
  // Not there as it stands: in a literal with quotes in it. No place is better than a wrong one.
  const position = start < 0 ? undefined : [...text.slice(0, start)].length + error.position;
  return new TviewsError(code, message, { detail, hint, position, cause: error });
}

/** An error of ours in the client's transaction has to abort it, as one of the server's would. */
async function failTransaction(session: Session): Promise<void> {
  const link = session.link;
  if (link === null) return;
  await linkExecutor(link)
    .query('DO $$ BEGIN RAISE EXCEPTION $x$tview statement failed$x$; END $$')
    .catch(() => {}); // the error is the purpose
}

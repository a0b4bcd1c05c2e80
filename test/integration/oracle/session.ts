/** One of the concurrent sessions: its connections, and the running of a transaction along its path. */
import pg from 'pg';
import { bind, execute, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { field, RawClient, type RawMessage } from '../../kit/raw-client.ts';
import { begin, end, type Level, type Statement, statementsOf, type Transaction } from './transaction.ts';

/** What became of a transaction. Stale reads are those through the proxy that did not match the definition. */
export type Outcome =
  | { readonly kind: 'committed' | 'rolled back'; readonly staleReads: readonly string[] }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string };

/** An error of PostgreSQL's as one of its clients has it. */
class Refusal extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface SessionOptions {
  readonly database: FreshDatabase;
  /** Of the application's login through the proxy. */
  readonly proxyUrl: string;
}

let transactionIds = 0;

export class Session {
  readonly #direct: pg.Client;
  readonly #proxied: pg.Client;
  readonly #raw: RawClient;
  #judges: ReadonlySet<Level> = new Set();
  #staleReads: string[] = [];

  private constructor(direct: pg.Client, proxied: pg.Client, raw: RawClient) {
    this.#direct = direct;
    this.#proxied = proxied;
    this.#raw = raw;
  }

  static async open(options: SessionOptions): Promise<Session> {
    const direct = await options.database.client(options.database.app);
    const proxied = new pg.Client({ connectionString: options.proxyUrl });
    await proxied.connect();
    return new Session(direct, proxied, await RawClient.connect(options.proxyUrl));
  }

  async close(): Promise<void> {
    this.#raw.close();
    await this.#proxied.end();
    await this.#direct.end();
  }

  /** Reads are judged at the levels where they have to be exact. */
  async run(transaction: Transaction, judges: ReadonlySet<Level>): Promise<Outcome> {
    this.#judges = judges;
    this.#staleReads = [];
    try {
      await this.#along(transaction);
      return {
        kind: transaction.commits ? 'committed' : 'rolled back',
        staleReads: this.#staleReads,
      };
    } catch (error) {
      // What is no answer of the server's has no code, and so is nothing that may happen.
      const code = error instanceof pg.DatabaseError || error instanceof Refusal ? error.code : undefined;
      return {
        kind: 'refused',
        code: code ?? 'without code',
        message: error instanceof Error ? error.message : String(error),
      };
    }
  }

  async #along(transaction: Transaction): Promise<void> {
    const statements = statementsOf(transaction.steps);
    const whole = [begin(transaction), ...statements.map(({ sql }) => sql), end(transaction)];
    switch (transaction.path) {
      case 'direct':
        return await this.#stepwise(this.#direct, transaction, statements, end(transaction));
      case 'proxy':
        return await this.#stepwise(this.#proxied, transaction, statements, end(transaction));
      case 'proxy extended':
        return await this.#stepwise(this.#proxied, transaction, statements, end(transaction), 'extended');
      case 'direct batch':
        return await batch(this.#direct, whole);
      case 'proxy batch':
        return await batch(this.#proxied, whole);
      case 'direct autocommit':
        return void (await this.#direct.query(statements[0]!.sql));
      case 'proxy autocommit':
        return void (await this.#proxied.query(statements[0]!.sql));
      case 'proxy implicit':
        return void (await this.#proxied.query(statements.map(({ sql }) => sql).join('; ')));
      case 'proxy pipeline':
        return await this.#pipeline(transaction, statements, false);
      case 'proxy pipeline behind BEGIN':
        return await this.#pipeline(transaction, statements, true);
      case 'two-phase direct':
        return await this.#twoPhase(this.#direct, this.#proxied, transaction, statements);
      case 'two-phase proxy':
        return await this.#twoPhase(this.#proxied, this.#direct, transaction, statements);
    }
  }

  async #stepwise(
    client: pg.Client,
    transaction: Transaction,
    statements: readonly Statement[],
    last: string,
    queryMode: 'simple' | 'extended' = 'simple',
  ): Promise<void> {
    try {
      await client.query(begin(transaction));
      for (const { sql, reads } of statements) {
        const { rows } = await client.query<{ wrong?: number }>(
          queryMode === 'extended' ? extended(sql) : sql,
        );
        if (reads !== undefined && client === this.#proxied) {
          this.#judgeRead(transaction, reads, Number(rows[0]!.wrong));
        }
      }
      await client.query(last);
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    }
  }

  #judgeRead({ level }: Transaction, tview: string, wrong: number): void {
    if (wrong > 0 && this.#judges.has(level)) this.#staleReads.push(`${wrong} rows of ${tview}`);
  }

  async #pipeline(
    transaction: Transaction,
    statements: readonly Statement[],
    awaitsBegin: boolean,
  ): Promise<void> {
    if (awaitsBegin) {
      this.#raw.send(query(begin(transaction)));
      await this.#raw.untilReady();
    }
    const texts = [
      ...(awaitsBegin ? [] : [begin(transaction)]),
      ...statements.map(({ sql }) => sql),
      end(transaction),
    ];
    this.#raw.send(...texts.flatMap((text) => [parse('', text), bind({ statement: '' }), execute()]), sync);
    const answers = await this.#raw.untilReady();
    const failure = answers.find(({ type }) => type === 'E');
    if (failure !== undefined) {
      this.#raw.send(query('ROLLBACK'));
      await this.#raw.untilReady();
      throw new Refusal(field(failure.body, 'C') ?? '', field(failure.body, 'M') ?? '');
    }
    const rows = answers.filter(({ type }) => type === 'D');
    const reads = statements.flatMap(({ reads: tview }) => (tview === undefined ? [] : [tview]));
    for (const [i, tview] of reads.entries()) this.#judgeRead(transaction, tview, onlyNumber(rows[i]!));
  }

  /** Prepared on one connection, decided on another: a session of the pool may have gone elsewhere meanwhile. */
  async #twoPhase(
    here: pg.Client,
    there: pg.Client,
    transaction: Transaction,
    statements: readonly Statement[],
  ): Promise<void> {
    transactionIds += 1;
    const id = `oracle ${process.pid} ${transactionIds}`;
    await this.#stepwise(here, transaction, statements, `PREPARE TRANSACTION '${id}'`);
    await there.query(`${end(transaction)} PREPARED '${id}'`);
  }
}

async function batch(client: pg.Client, statements: readonly string[]): Promise<void> {
  try {
    await client.query(statements.join('; '));
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

/** The driver has this setting; its types do not. */
function extended(text: string): pg.QueryConfig {
  const config: pg.QueryConfig & { queryMode: 'extended' } = { text, queryMode: 'extended' };
  return config;
}

/** A DataRow of one column in text: count, length, value. */
const onlyNumber = ({ body }: RawMessage): number => Number(body.toString('utf8', 6));

/**
 * Compares the tviews of one database with their definitions, a few rows at a time, for as long as the proxy runs: the alarm
 * that tells what nobody has told us, a restore with triggers disabled or a fault of ours. It repairs nothing: a row that
 * went stale has a reason, and somebody should see it.
 *
 * What it finds is counted at once, without a second look: a comparison is one statement on one snapshot (compare-function.ts),
 * and no commit leaves the two sides apart in any. A row that differs now and no longer a moment later was stale in between,
 * which is the very thing we promise does not happen.
 *
 * On an owner connection of its own: the catalog's is waited for by sessions that owe a flush.
 */
import type pg from 'pg';
import { executorOf } from '../../src/database/node-postgres.ts';
import { sqlStateOf } from '../../src/database/session.ts';
import {
  chooseMethod,
  comparePage,
  divergentRows,
  type Method,
  type Page,
  type Position,
} from '../../src/database/verify.ts';
import { SqlState } from '../../src/errors/errors.ts';
import type { Logger } from '../../src/observe/log.ts';
import type { VerifiedTview } from '../../src/observe/metrics.ts';
import type { CatalogSnapshot } from './catalog.ts';
import { type OwnerConnection, ownerClient } from './owner.ts';

/** A comparison that takes longer would hold back VACUUM for nothing urgent. */
const TIMEOUT_MS = 30_000;
/** Keys in a line of the log. */
const LOGGED_KEYS = 10;

export interface VerifierOptions {
  readonly intervalMs: number;
  readonly rows: number;
  /** It rests so many times as long as it has worked: with 20, it takes at most a twentieth of one core of the server. */
  readonly restFactor: number;
}

type VerifiedCatalog = Pick<CatalogSnapshot, 'tviewNames' | 'tviewTables' | 'unverified'>;

/** How far we are with one tview. */
interface Walk {
  readonly id: number;
  /** Of this pass; null before its first page. */
  method: Method | null;
  after: Position | null;
  found: number;
  /** Of the last full pass. */
  foundBefore: number;
  rows: number;
  lastPassAt: number | null;
  problem: string | null;
}

export class Verifier {
  readonly #database: string;
  readonly #owner: OwnerConnection;
  readonly #catalog: () => VerifiedCatalog | null;
  readonly #options: VerifierOptions;
  readonly #log: Logger;
  readonly #walks = new Map<number, Walk>();
  /** The tview looked at last. */
  #last = 0;
  #client: pg.Client | null = null;
  #timer: NodeJS.Timeout | null = null;
  #sampling: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(
    database: string,
    owner: OwnerConnection,
    catalog: () => VerifiedCatalog | null,
    options: VerifierOptions,
    log: Logger,
  ) {
    this.#database = database;
    this.#owner = owner;
    this.#catalog = catalog;
    this.#options = options;
    this.#log = log.child({ database });
  }

  start(): void {
    this.#after(this.#options.intervalMs);
  }

  verified(): readonly VerifiedTview[] {
    const names = this.#catalog()?.tviewNames;
    return [...this.#walks.values()].flatMap(({ id, found, foundBefore, rows, lastPassAt, problem }) => {
      const tview = names?.get(id);
      if (tview === undefined) return [];
      const divergent = Math.max(found, foundBefore);
      return { database: this.#database, tview, rows, divergentRows: divergent, lastPassAt, problem };
    });
  }

  #after(ms: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      const begun = performance.now();
      this.#sampling = this.#sample().finally(() => {
        const { intervalMs, restFactor } = this.#options;
        this.#after(Math.max(intervalMs, restFactor * (performance.now() - begun)));
      });
    }, ms);
    this.#timer.unref();
  }

  /** One page of the tview whose turn it is. Never rejects. */
  async #sample(): Promise<void> {
    const catalog = this.#catalog();
    if (catalog === null) return;
    // One that is suspended differs by intent, and begins anew when it is resumed; so does one that is being built.
    const walk = this.#next([...catalog.tviewNames.keys()].filter((id) => !catalog.unverified.has(id)));
    if (walk === null) return;
    const tview = catalog.tviewNames.get(walk.id)!;
    try {
      const page = await this.#compare(walk, catalog.tviewTables.get(walk.id)!);
      walk.problem = null;
      // It may have become so a moment ago, and we not have heard of it yet.
      if (divergentRows(page) > 0 && (await this.#differsByIntent(walk.id))) return;
      this.#count(walk, tview, page);
    } catch (error) {
      if (this.#closed) return;
      const problem = describeProblem(error);
      // Once: it comes back as often as the tview's turn does.
      if (problem !== walk.problem) this.#log.warn({ err: error, tview }, `could not verify tview ${tview}`);
      walk.problem = problem;
      // From where it was, with a method chosen anew: it may be the method that is wrong by now.
      walk.method = null;
    }
  }

  /** One after the other, so that a large tview keeps no small one waiting. */
  #next(ids: readonly number[]): Walk | null {
    for (const id of this.#walks.keys()) if (!ids.includes(id)) this.#walks.delete(id);
    const id = ids.find((candidate) => candidate > this.#last) ?? ids[0];
    if (id === undefined) return null;
    this.#last = id;
    const known = this.#walks.get(id);
    if (known !== undefined) return known;
    const walk: Walk = {
      id,
      method: null,
      after: null,
      found: 0,
      foundBefore: 0,
      rows: 0,
      lastPassAt: null,
      problem: null,
    };
    this.#walks.set(id, walk);
    return walk;
  }

  async #compare(walk: Walk, name: string): Promise<Page> {
    const executor = executorOf(await this.#connected());
    const tview = { id: walk.id, name };
    const { rows: pageSize } = this.#options;
    if (walk.method === null) {
      const { method } = await chooseMethod(executor, tview, pageSize);
      // A whole comparison counts what was found in pages before once more.
      if (method === 'whole') {
        walk.after = null;
        walk.found = 0;
      }
      walk.method = method;
    }
    return await comparePage(executor, tview, {
      method: walk.method,
      after: walk.after,
      pageSize,
      rows: LOGGED_KEYS,
      timeoutMs: TIMEOUT_MS,
    });
  }

  async #differsByIntent(tview: number): Promise<boolean> {
    const [row] = await executorOf(await this.#connected()).query<{ intended: boolean }>(
      `SELECT t.suspended_at IS NOT NULL OR EXISTS (SELECT FROM tviews.construction AS c WHERE c.tview = t.id) AS intended
       FROM tviews.tview AS t WHERE t.id = $1`,
      [tview],
    );
    return row?.intended === true;
  }

  #count(walk: Walk, tview: string, page: Page): void {
    walk.rows += page.compared;
    walk.after = page.upto;
    const found = divergentRows(page);
    walk.found += found;
    if (found > 0) {
      const { missing, surplus, different, rows } = page;
      this.#log.error(
        { tview, missing, surplus, different, keys: rows.map(({ kind, key }) => ({ kind, key })) },
        `tview ${tview} differs from its definition: run "tviews verify ${tview} --repair"`,
      );
    }
    if (page.upto !== null) return;
    walk.foundBefore = walk.found;
    walk.found = 0;
    walk.lastPassAt = Date.now();
    walk.method = null;
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== null) return this.#client;
    const client = ownerClient(this.#owner, 'tviews verify');
    const lost = (): void => {
      if (this.#client === client) this.#client = null;
    };
    // The query under way rejects as well, and that is what is said; the next sample connects anew.
    client.on('error', lost);
    client.on('end', lost);
    await client.connect();
    if (this.#closed) {
      await client.end();
      throw new Error('the proxy is shutting down');
    }
    this.#client = client;
    return client;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = null;
    // Nobody waits for a comparison to finish: without its connection it ends.
    if (client === null) return;
    await client.end();
    await this.#sampling;
  }
}

function describeProblem(error: unknown): string {
  if (sqlStateOf(error) === SqlState.queryCanceled) {
    return `comparing takes longer than ${TIMEOUT_MS / 1000} s; run "tviews verify"`;
  }
  return error instanceof Error ? error.message : String(error);
}

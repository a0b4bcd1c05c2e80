/** One session's refresh state joined to its database's catalog: claims and flushes as messages, reports as metrics. */
import type { Logger } from 'pino';
import type { FlushReport } from '../../src/database/flush-function.ts';
import type { Metrics } from '../../src/observe/metrics.ts';
import { readChange } from '../../src/refresh/change.ts';
import { RefreshState } from '../../src/refresh/state.ts';
import type { SessionRefresh } from '../relay/ports.ts';
import type { Note } from '../relay/requests.ts';
import type { ReceivedReport } from '../wire/messages/report.ts';
import { functionCall } from '../wire/messages/requests.ts';
import type { Catalog } from './catalog.ts';
import { recordIn } from './repairs.ts';

const TRUE = Buffer.from([1]);
const FALSE = Buffer.from([0]);

/** One statement can send many changes before anything can be flushed: so many bytes of them are kept as they are. */
const REMEMBERED_BYTES = 4_194_304;

/** Flushes of one transaction whose records are remembered. */
const REMEMBERED_REPAIRS = 16;

export interface RefreshSettings {
  /** A flush that takes longer is logged at level warn; 0: none is. */
  readonly slowFlushMs: number;
  /** With more pending than this, a session reads as if every statement read a tview: it flushes early. */
  readonly pendingBytes: number;
}

export class DatabaseSessionRefresh implements SessionRefresh {
  readonly #catalog: Catalog;
  readonly #settings: RefreshSettings;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #state: RefreshState;
  /** Of the claim under way: the catalog may be gone when the flush is due. */
  #flushOid = 0;
  /** This transaction has made or dropped tviews, of which the catalog learns when it has committed. */
  #outdated = false;
  /** Records of this transaction's flushes, to be looked at when it has committed. */
  readonly #toRepair: string[] = [];
  /** This transaction has run what may have changed the schema. */
  #schemaChange: 'likely' | 'possible' | 'none' = 'none';

  constructor(catalog: Catalog, settings: RefreshSettings, metrics: Metrics, log: Logger) {
    this.#catalog = catalog;
    this.#settings = settings;
    this.#state = new RefreshState(Math.max(REMEMBERED_BYTES, 2 * settings.pendingBytes));
    this.#metrics = metrics;
    this.#log = log;
  }

  get isEmpty(): boolean {
    return this.#state.isEmpty && !this.#outdated;
  }

  get claimed(): boolean {
    return this.#state.claimed;
  }

  get mayBeClaimed(): boolean {
    return this.#state.mayBeClaimed;
  }

  get hasPending(): boolean {
    return this.#state.hasPending;
  }

  get hasFlushed(): boolean {
    return this.#state.hasFlushed || this.#outdated;
  }

  get mayOwe(): boolean {
    return this.#state.mayOwe;
  }

  ranUnclaimed(): void {
    const snapshot = this.#catalog.snapshot;
    // Without tviews there is no queue either.
    if (snapshot?.tviews == null) return;
    this.#flushOid = snapshot.flushOid;
    this.#state.ranUnclaimed();
  }

  /** Until the end of the transaction any statement may write a source, and any may read a tview. */
  onTviewsChanged(): void {
    this.#outdated = true;
  }

  namesSource(text: string): boolean {
    if (this.#outdated) return this.#catalog.snapshot !== null;
    return this.#catalog.snapshot?.sources?.test(text) ?? false;
  }

  namesTview(text: string): boolean {
    if (this.#state.pendingBytes > this.#settings.pendingBytes) return true;
    const snapshot = this.#catalog.snapshot;
    // The catalog went away in the middle of a transaction: whatever is read may be a tview.
    if (snapshot === null || this.#outdated) return true;
    return snapshot.tviews?.test(text) ?? false;
  }

  claimMessage(): Buffer {
    const snapshot = this.#catalog.snapshot;
    if (snapshot === null) throw new Error('no catalog to claim with');
    this.#state.claim();
    this.#flushOid = snapshot.flushOid;
    return snapshot.claimMessage;
  }

  flushMessage(release: boolean): Buffer {
    const changes = this.#state.takePending();
    if (release) this.#state.release();
    return functionCall(this.#flushOid, [jsonbParameter(changes), release ? TRUE : FALSE], false);
  }

  /** What is owed, for a flush that goes out as a statement of ours; the claim is given back with it. */
  takeOwed(): string | null {
    if (!this.#state.mayBeClaimed && !this.#state.mayOwe) return null;
    const changes = this.#state.takePending();
    this.#state.release();
    return changes;
  }

  onChange(message: string): boolean {
    const change = readChange(message);
    if (change === null) return false;
    this.#state.add(change);
    // Anybody may RAISE INFO with our SQLSTATE: only sources we know become labels.
    const source =
      change.source === null ? undefined : this.#catalog.snapshot?.sourceNames.get(change.source);
    this.#metrics.changed(source ?? 'unknown');
    if (this.#flushOid === 0) this.#flushOid = this.#catalog.snapshot?.flushOid ?? 0;
    return true;
  }

  onRepairOwed(message: string): boolean {
    const record = recordIn(message);
    if (record === null) return false;
    // Anybody may RAISE INFO with our SQLSTATE: more than a transaction flushes are left to those who look for leftovers.
    if (this.#toRepair.length < REMEMBERED_REPAIRS) this.#toRepair.push(record);
    return true;
  }

  onSchemaChange(isLikely: boolean): void {
    if (isLikely) this.#schemaChange = 'likely';
    else if (this.#schemaChange === 'none') this.#schemaChange = 'possible';
  }

  repair(): Promise<void> | null {
    const schemaChange = this.#schemaChange;
    this.#schemaChange = 'none';
    if (schemaChange === 'possible') this.#catalog.follower.followSoon();
    const follows = schemaChange === 'likely' && this.#catalog.snapshot !== null;
    if (this.#toRepair.length === 0 && !follows) return null;
    const work = this.#toRepair.splice(0).map((record) => this.#catalog.repairs.repair(record));
    if (follows) work.push(this.#catalog.follower.follow());
    return Promise.all(work).then(() => undefined);
  }

  flushLate(): void {
    const changes = this.#state.takePending();
    this.#catalog.flush(changes).then(
      () => this.#log.error('changes were left at the end of a transaction; they are flushed now'),
      (error: unknown) =>
        this.#log.error(
          { err: error },
          'changes were left at the end of a transaction and could not be flushed: run "tviews verify --repair"',
        ),
    );
  }

  onFlushed(note: Note, report: string): void {
    if (note.kind !== 'flush') return;
    const seconds = (performance.now() - note.startedAt) / 1000;
    const names = this.#catalog.snapshot?.tviewNames;
    const entries = (JSON.parse(report) as readonly FlushReport[]).map((entry) => ({
      ...entry,
      tview: names?.get(entry.tview) ?? `#${entry.tview}`,
    }));
    if (entries.length === 0) return;
    this.#metrics.flushed(note.trigger, seconds, entries);
    const slow = this.#settings.slowFlushMs > 0 && seconds * 1000 > this.#settings.slowFlushMs;
    if (slow) this.#log.warn({ trigger: note.trigger, ms: seconds * 1000, tviews: entries }, 'slow flush');
    else if (this.#log.isLevelEnabled('debug')) {
      this.#log.debug({ trigger: note.trigger, ms: seconds * 1000, tviews: entries }, 'flush');
    }
  }

  onFlushFailed(note: Note, report: ReceivedReport): ReadonlyMap<string, string> {
    if (note.kind !== 'flush') return report.fields;
    this.#metrics.flushFailed(report.code);
    const tview = this.#tviewIn(report.fields.get('W') ?? '');
    const what = { code: report.code, tview, trigger: note.trigger };
    if (note.trigger === 'late') {
      this.#log.error(
        what,
        `late flush failed, the tview is stale: ${report.message}; run "tviews verify --repair"`,
      );
    } else {
      this.#log.info(what, `flush failed: ${report.message}`);
    }
    if (tview === null || report.detail !== undefined) return report.fields;
    return new Map(report.fields).set(
      'D',
      `While refreshing tview ${tview}, which this transaction changed.`,
    );
  }

  /** The tview whose refresh function is in the error's context (refresh_<name>_<id>). */
  #tviewIn(context: string): string | null {
    const id = /refresh_[^(\n]*_(\d+)["(]/.exec(context)?.[1];
    return id === undefined ? null : (this.#catalog.snapshot?.tviewNames.get(Number(id)) ?? null);
  }

  onCommitted(): void {
    this.#state.committed();
  }

  onRolledBack(): void {
    this.#state.rollbackTo();
  }

  clear(): void {
    this.#outdated = false;
    this.#state.clear();
  }
}

/** jsonb in binary form: version 1, then the text, which is ASCII. */
function jsonbParameter(text: string): Buffer {
  const bytes = Buffer.allocUnsafe(text.length + 1);
  bytes[0] = 1;
  bytes.write(text, 1, 'latin1');
  return bytes;
}

/** What the decision about a statement (decide.ts) asks of it, for each way in which a statement comes. */
import { isSingleStatement, StatementClass } from '../statements/classify.ts';
import type { Prepared } from './client-statements.ts';
import type { StatementFacts } from './decide.ts';
import type { SessionRefresh } from './ports.ts';

/** A Query message, looked at only as far as the decision needs. */
export class QueryFacts implements StatementFacts {
  readonly class: StatementClass;
  readonly #refresh: SessionRefresh;
  readonly #chunk: Buffer;
  readonly #from: number;
  readonly #to: number;
  #text: string | null = null;

  constructor(
    refresh: SessionRefresh,
    statementClass: StatementClass,
    chunk: Buffer,
    from: number,
    to: number,
  ) {
    this.class = statementClass;
    this.#refresh = refresh;
    this.#chunk = chunk;
    this.#from = from;
    this.#to = to;
  }

  get #content(): string {
    this.#text ??= this.#chunk.toString('utf8', this.#from, this.#to);
    return this.#text;
  }

  isSingle(): boolean {
    return isSingleStatement(this.#chunk, this.#from, this.#to);
  }

  namesSource(): boolean {
    return this.#refresh.namesSource(this.#content);
  }

  namesTview(): boolean {
    return this.#refresh.namesTview(this.#content);
  }
}

/** What a Bind runs; the extended protocol knows only single statements. */
export class BoundFacts implements StatementFacts {
  readonly #refresh: SessionRefresh;
  readonly #prepared: Prepared;

  constructor(refresh: SessionRefresh, prepared: Prepared) {
    this.#refresh = refresh;
    this.#prepared = prepared;
  }

  get class(): StatementClass {
    return this.#prepared.class === StatementClass.MaybeTview ? StatementClass.Read : this.#prepared.class;
  }

  isSingle(): boolean {
    return true;
  }

  namesSource(): boolean {
    return this.#prepared.text !== null && this.#refresh.namesSource(this.#prepared.text);
  }

  /** A text that was not kept may name anything. */
  namesTview(): boolean {
    return this.#prepared.text === null || this.#refresh.namesTview(this.#prepared.text);
  }
}

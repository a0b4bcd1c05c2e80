/**
 * What a statement may do, told from its first words. Text only *prepares* for a claim or a flush; whatever is not
 * recognised with certainty is `Opaque`, and then the session settles first and the database's fallback does the rest.
 */
export const StatementClass = {
  /** Cannot end the transaction (COMMIT PREPARED refuses to run in one); not expected to write a source. */
  Read: 0,
  /** Cannot end the transaction; may write. */
  Write: 1,
  Begin: 2,
  /** COMMIT, END: also AND CHAIN. */
  Commit: 3,
  Rollback: 4,
  RollbackTo: 5,
  PrepareTransaction: 6,
  /** May end the transaction, may do anything: CALL, DO, several statements, unknown words. */
  Opaque: 7,
  /** May be one of ours (CREATE TVIEW …): the definition's own recogniser decides. */
  MaybeTview: 8,
  /** DISCARD, DEALLOCATE: as Read, but prepared statements may be gone behind it. */
  Forget: 9,
  /** SQL's EXECUTE: Write or Opaque, by what the session has prepared (ClientStatements.classOfExecute); nothing decides by it. */
  Execute: 10,
} as const;
export type StatementClass = (typeof StatementClass)[keyof typeof StatementClass];

/** First words of statements that cannot end a transaction, whatever follows them. */
const WORDS: readonly (readonly [StatementClass, string])[] = [
  [
    StatementClass.Read,
    `select values table show set reset fetch move close declare savepoint release listen unlisten notify lock analyze
     grant revoke comment alter refresh reindex security reassign load cluster checkpoint vacuum`,
  ],
  [StatementClass.Write, 'insert update delete merge copy with truncate explain'],
  [StatementClass.Execute, 'execute'],
  [StatementClass.Forget, 'deallocate discard'],
  [StatementClass.Begin, 'begin start'],
  [StatementClass.MaybeTview, 'create drop'],
];

/** Words that say more than a class, and have to be asked about. */
const COMMIT = 'commit';
const END = 'end';
const ROLLBACK = 'rollback';
const ABORT = 'abort';
const PREPARE = 'prepare';
const SELECT = 'select';
const PREPARED = 'prepared';
const TRANSACTION = 'transaction';
const WORK = 'work';
const TO = 'to';

interface Word {
  readonly text: string;
  /** Undefined: what it does depends on what follows. */
  readonly class: StatementClass | undefined;
}

/** Whatever is not among the words. */
const UNKNOWN_WORD: Word = { text: '', class: undefined };

/** By hash: a word is looked up without making a string of it. Two words of one hash would be an error at load. */
const WORD_BY_HASH: ReadonlyMap<number, Word> = hashWords([
  ...WORDS.flatMap(([kind, words]) => words.split(/\s+/).map((text) => ({ text, class: kind }))),
  ...[COMMIT, END, ROLLBACK, ABORT, PREPARE, PREPARED, TRANSACTION, WORK, TO].map((text) => ({
    text,
    class: undefined,
  })),
]);

function hashWords(words: readonly Word[]): ReadonlyMap<number, Word> {
  const byHash = new Map<number, Word>();
  for (const word of words) {
    let hash = 0;
    for (let index = 0; index < word.text.length; index++)
      hash = addLetter(hash, word.text.charCodeAt(index));
    if (byHash.has(hash)) throw new Error(`hash collision of ${word.text} and ${byHash.get(hash)!.text}`);
    byHash.set(hash, word);
  }
  return byHash;
}

/** Upper and lower case of a letter count the same. */
function addLetter(hash: number, letter: number): number {
  return (Math.imul(hash, 31) + (letter | 0x20)) | 0;
}

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09 || byte === 0x0c || byte === 0x0b;

const isLetter = (byte: number | undefined): boolean =>
  byte !== undefined && ((byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || byte === 0x5f);

/** The next position that is neither white space nor inside a comment (block comments nest, as PostgreSQL's do). */
function skipBlank(text: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = text[at];
    if (isSpace(byte)) {
      at += 1;
    } else if (byte === 0x2d && text[at + 1] === 0x2d) {
      while (at < end && text[at] !== 0x0a && text[at] !== 0x0d) at += 1;
    } else if (byte === 0x2f && text[at + 1] === 0x2a) {
      let depth = 1;
      at += 2;
      while (at < end && depth > 0) {
        if (text[at] === 0x2f && text[at + 1] === 0x2a) {
          depth += 1;
          at += 2;
        } else if (text[at] === 0x2a && text[at + 1] === 0x2f) {
          depth -= 1;
          at += 2;
        } else {
          at += 1;
        }
      }
    } else {
      return at;
    }
  }
  return end;
}

function wordEnd(text: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && isLetter(text[at])) at += 1;
  return at;
}

/** Longest word we look for, `transaction`; a longer one is not ours. */
const MAX_WORD = 16;

/** Hot path: the word at `from`, without allocation. */
function wordAt(text: Uint8Array, from: number, end: number): Word {
  const to = wordEnd(text, from, Math.min(end, from + MAX_WORD));
  let hash = 0;
  for (let at = from; at < to; at++) hash = addLetter(hash, text[at]!);
  const word = WORD_BY_HASH.get(hash);
  if (word === undefined || word.text.length !== to - from) return UNKNOWN_WORD;
  for (let index = 0; index < word.text.length; index++) {
    if (word.text.charCodeAt(index) !== (text[from + index]! | 0x20)) return UNKNOWN_WORD;
  }
  return word;
}

/**
 * Classifies the statement in `text[start, end)` (without its terminating zero). For a Query message use
 * {@link isSingleStatement} too: this looks at the first statement only.
 */
export function classify(text: Buffer, start: number, end: number): StatementClass {
  let at = skipBlank(text, start, end);
  while (at < end && text[at] === 0x28) at = skipBlank(text, at + 1, end); // ( SELECT …
  if (at >= end) return StatementClass.Read; // an empty statement
  const word = wordAt(text, at, end);
  if (word.class !== undefined) {
    if (word.text === SELECT && mayCreateTview(text, at + SELECT.length, end))
      return StatementClass.MaybeTview;
    return word.class;
  }
  const next = skipBlank(text, at + word.text.length, end);
  switch (word.text) {
    case COMMIT:
    case END:
      return wordAt(text, next, end).text === PREPARED ? StatementClass.Read : StatementClass.Commit;
    case ROLLBACK:
    case ABORT:
      return classifyRollback(text, next, end);
    case PREPARE:
      return wordAt(text, next, end).text === TRANSACTION
        ? StatementClass.PrepareTransaction
        : StatementClass.Read;
    default:
      return StatementClass.Opaque;
  }
}

function classifyRollback(text: Buffer, from: number, end: number): StatementClass {
  let word = wordAt(text, from, end).text;
  if (word === WORK || word === TRANSACTION)
    word = wordAt(text, skipBlank(text, from + word.length, end), end).text;
  if (word === TO) return StatementClass.RollbackTo;
  return word === PREPARED ? StatementClass.Read : StatementClass.Rollback;
}

/** `SELECT [public.]pg_tviews_…(`: only these go on to the real recogniser. */
function mayCreateTview(text: Buffer, from: number, end: number): boolean {
  const at = skipBlank(text, from, end);
  const first = text[at];
  if (first !== 0x70 && first !== 0x50) return false; // p, as in pg_tviews_ or public.
  return text
    .toString('latin1', at, Math.min(end, at + 40))
    .toLowerCase()
    .includes('pg_tviews_');
}

/**
 * Whether a Query message holds one statement. A semicolon followed by anything but white space counts as several,
 * even inside a literal: a mistake to this side only costs the fast path.
 */
export function isSingleStatement(text: Buffer, start: number, end: number): boolean {
  let at = text.indexOf(0x3b, start);
  if (at === -1 || at >= end) return true;
  for (at += 1; at < end; at += 1) {
    if (!isSpace(text[at]) && text[at] !== 0x3b) return false;
  }
  return true;
}

/**
 * What the tag of a statement that has run says of the schema. DO is asked like DDL: people write migrations with it. Procedures
 * are called a thousand times a second, and mostly change nothing; of COMMIT PREPARED nobody knows what it commits.
 */
export function schemaChangeOf(tag: string): 'likely' | 'possible' | 'none' {
  if (SCHEMA_CHANGE.test(tag)) return 'likely';
  return tag === 'CALL' || tag === 'COMMIT PREPARED' ? 'possible' : 'none';
}

const SCHEMA_CHANGE =
  /^(?:(?:ALTER|CREATE|DROP) (?:TABLE|VIEW|SCHEMA|TYPE|DOMAIN|INDEX|CAST|EXTENSION)|(?:DROP|REASSIGN) OWNED|DO)$/;

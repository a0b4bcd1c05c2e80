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
} as const;
export type StatementClass = (typeof StatementClass)[keyof typeof StatementClass];

/** First words of statements that cannot end a transaction, whatever follows them. */
const CLASS_BY_WORD: ReadonlyMap<string, StatementClass> = new Map<string, StatementClass>([
  ...[
    'select',
    'values',
    'table',
    'show',
    'set',
    'reset',
    'fetch',
    'move',
    'close',
    'declare',
    'savepoint',
    'release',
    'listen',
    'unlisten',
    'notify',
    'lock',
    'analyze',
    'grant',
    'revoke',
    'comment',
    'alter',
    'refresh',
    'reindex',
    'security',
    'reassign',
    'load',
    'cluster',
    'checkpoint',
    'vacuum',
  ].map((word) => [word, StatementClass.Read] as const),
  ...['insert', 'update', 'delete', 'merge', 'copy', 'with', 'execute', 'truncate', 'explain'].map(
    (word) => [word, StatementClass.Write] as const,
  ),
  ['deallocate', StatementClass.Forget],
  ['discard', StatementClass.Forget],
  ['begin', StatementClass.Begin],
  ['start', StatementClass.Begin],
  ['create', StatementClass.MaybeTview],
  ['drop', StatementClass.MaybeTview],
]);

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

function wordAt(text: Buffer, from: number, end: number): string {
  const to = wordEnd(text, from, Math.min(end, from + MAX_WORD));
  return text.toString('latin1', from, to).toLowerCase();
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
  const known = CLASS_BY_WORD.get(word);
  if (known !== undefined) {
    if (word === 'select') return mayCreateTview(text, at + 6, end) ? StatementClass.MaybeTview : known;
    return known;
  }
  const next = skipBlank(text, at + word.length, end);
  switch (word) {
    case 'commit':
    case 'end':
      return wordAt(text, next, end) === 'prepared' ? StatementClass.Read : StatementClass.Commit;
    case 'rollback':
    case 'abort':
      return classifyRollback(text, next, end);
    case 'prepare':
      return wordAt(text, next, end) === 'transaction'
        ? StatementClass.PrepareTransaction
        : StatementClass.Read;
    default:
      return StatementClass.Opaque;
  }
}

function classifyRollback(text: Buffer, from: number, end: number): StatementClass {
  let word = wordAt(text, from, end);
  let at = from;
  if (word === 'work' || word === 'transaction') {
    at = skipBlank(text, from + word.length, end);
    word = wordAt(text, at, end);
  }
  if (word === 'to') return StatementClass.RollbackTo;
  return word === 'prepared' ? StatementClass.Read : StatementClass.Rollback;
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

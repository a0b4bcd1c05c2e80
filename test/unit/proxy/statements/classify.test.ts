/** What a statement may do, told from its first words: never too harmless. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  classify,
  isSingleStatement,
  StatementClass,
  schemaChangeOf,
} from '../../../../proxy/statements/classify.ts';

const classOf = (text: string): string => {
  const bytes = Buffer.from(text);
  const found = classify(bytes, 0, bytes.length);
  return Object.entries(StatementClass).find(([, value]) => value === found)![0];
};
const single = (text: string): boolean => {
  const bytes = Buffer.from(text);
  return isSingleStatement(bytes, 0, bytes.length);
};

const statements: Record<keyof typeof StatementClass, readonly string[]> = {
  Read: [
    ...['', ' \t\r\n\f', '-- only a comment', '/* only */', '/* never ended', '--'],
    ...['SELECT 1', 'select 1', 'SeLeCt 1', '(SELECT 1)', '( ( SELECT 1) UNION SELECT 2)', 'VALUES (1)'],
    ...['TABLE tb_post', 'SHOW all', 'SET x = 1', 'RESET x', 'FETCH c', 'DECLARE c CURSOR FOR SELECT 1'],
    ...['SAVEPOINT s', 'RELEASE s', 'LISTEN a', 'LOCK t', 'ALTER TABLE t ADD a int', 'VACUUM'],
    ...["COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'", "commit /* */ prepared 'x'"],
    ...['PREPARE p AS SELECT 1', 'SELECT/**/1', 'SELECT-- x\n1', 'SELECT public.f()', 'select p from t'],
  ],
  Write: [
    ...['INSERT INTO t VALUES (1)', 'UPDATE t SET a = 1', 'DELETE FROM t', 'MERGE INTO t USING s ON true'],
    ...[
      'COPY t FROM STDIN',
      'WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x',
      '(WITH x AS (SELECT 1) TABLE x)',
    ],
    ...['TRUNCATE t', 'EXPLAIN ANALYZE DELETE FROM t', 'explain (analyze) insert into t values (1)'],
  ],
  Execute: ['EXECUTE p', 'execute p(1)'],
  Begin: ['BEGIN', 'begin work', 'START TRANSACTION READ ONLY', 'BEGIN;'],
  Commit: [
    ...['COMMIT', 'commit', 'END', 'COMMIT;', 'COMMIT WORK', 'COMMIT TRANSACTION', 'END TRANSACTION'],
    ...[
      'COMMIT AND CHAIN',
      'COMMIT WORK AND NO CHAIN',
      '/* a /* b */ c */ COMMIT',
      '-- a\nCOMMIT',
      '--\rCOMMIT',
    ],
    ...[
      '\n\t COMMIT',
      'COMMIT--x',
      'COMMIT/**/',
      '/***/COMMIT',
      '/*/**/*/COMMIT',
      '/*--*/COMMIT',
      '--/*\nCOMMIT',
    ],
  ],
  Rollback: ['ROLLBACK', 'ABORT', 'ROLLBACK WORK', 'ROLLBACK AND CHAIN', 'ROLLBACK TRANSACTION', 'rollback;'],
  RollbackTo: [
    ...['ROLLBACK TO s', 'ROLLBACK WORK TO s', 'ROLLBACK TRANSACTION TO SAVEPOINT s', 'rollback/**/to--\ns'],
  ],
  PrepareTransaction: ["PREPARE TRANSACTION 'x'", "prepare\ntransaction 'x'"],
  Opaque: [
    ...[
      'CALL p()',
      'DO $$ $$',
      'IMPORT FOREIGN SCHEMA x',
      'nonsense',
      ';',
      ';COMMIT',
      '; COMMIT',
      '1',
      '"commit"',
    ],
    ...[
      'commitx',
      'COMMITTED',
      'selects 1',
      '\u00e9',
      'commıt',
      '*/',
      '$1',
      'INSERTINTO',
      '_select',
      'x'.repeat(100),
    ],
  ],
  MaybeTview: [
    ...['CREATE TABLE t ()', 'DROP TABLE t', 'CREATE TVIEW tv_x AS SELECT 1'],
    ...[
      "SELECT pg_tviews_create('x')",
      "select public.pg_tviews_drop('x')",
      "SELECT /**/ PG_TVIEWS_DROP('x')",
    ],
  ],
  Forget: ['DISCARD ALL', 'DEALLOCATE a', 'deallocate all'],
};

for (const [name, texts] of Object.entries(statements)) {
  describe(`is ${name}:`, () => {
    test.for(texts)('%j', (text) => {
      expect(classOf(text)).toBe(name);
    });
  });
}

/** Blanks as PostgreSQL's lexer knows them. */
const blank = fc
  .array(
    fc.oneof(
      fc.constantFrom(' ', '\n', '\t', '\r', '\f', '\v'),
      fc.string().map((text) => `--${text.replaceAll(/[\r\n]/g, '')}\n`),
      fc.string().map((text) => `/*${text.replaceAll(/[*/]/g, ' ')}*/`),
      fc.string().map((text) => `/* /*${text.replaceAll(/[*/]/g, ' ')}*/ */`),
    ),
  )
  .map((parts) => parts.join(''));

describe('whatever is sent', () => {
  test('random bytes have a class, in any part of a buffer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(200), (bytes, a, b) => {
        const buffer = Buffer.from(bytes);
        const [start, end] = [Math.min(a, b, buffer.length), Math.min(Math.max(a, b), buffer.length)];
        expect(Object.values(StatementClass)).toContain(classify(buffer, start, end));
        isSingleStatement(buffer, start, end);
      }),
    );
  });

  test('comments and white space in front change no class', () => {
    const known = Object.values(statements)
      .flat()
      .filter((text) => text !== '');
    fc.assert(
      fc.property(blank, fc.constantFrom(...known), (before, text) => {
        expect(classOf(before + text)).toBe(classOf(text));
      }),
    );
  });

  test('what stands before and behind it in the buffer changes no class', () => {
    const known = Object.values(statements).flat();
    fc.assert(
      fc.property(
        fc.string(),
        fc.constantFrom(...known),
        fc.constantFrom('', ' PREPARED', ' TO s', '\0', 'x'),
        (before, text, behind) => {
          const buffer = Buffer.from(before + text + behind);
          const start = Buffer.byteLength(before);
          const end = start + Buffer.byteLength(text);
          const alone = Buffer.from(text);
          expect(classify(buffer, start, end)).toBe(classify(alone, 0, alone.length));
          expect(isSingleStatement(buffer, start, end)).toBe(isSingleStatement(alone, 0, alone.length));
        },
      ),
    );
  });

  test('a second statement is never overlooked', () => {
    const one = fc.constantFrom(...Object.values(statements).flat());
    fc.assert(
      fc.property(
        one,
        blank,
        fc.constantFrom('COMMIT', 'SELECT 1', '1'),
        blank,
        (first, between, second, after) => {
          expect(single(`${first};${between}${second}${after}`)).toBe(false);
        },
      ),
    );
  });

  test('one statement with any number of semicolons behind it is one', () => {
    expect(['SELECT 1', 'SELECT 1;', 'SELECT 1 ; ;\n'].map(single)).toEqual([true, true, true]);
  });
});

test.each<[ReturnType<typeof schemaChangeOf>, readonly string[]]>([
  [
    'likely',
    [
      ...[
        'ALTER TABLE',
        'ALTER VIEW',
        'ALTER SCHEMA',
        'ALTER TYPE',
        'ALTER DOMAIN',
        'ALTER INDEX',
        'ALTER EXTENSION',
      ],
      ...[
        'CREATE TABLE',
        'CREATE VIEW',
        'CREATE INDEX',
        'CREATE CAST',
        'DROP TABLE',
        'DROP VIEW',
        'DROP SCHEMA',
      ],
      ...['DROP INDEX', 'DROP CAST', 'DROP OWNED', 'REASSIGN OWNED', 'DO'],
    ],
  ],
  ['possible', ['CALL', 'COMMIT PREPARED']],
  [
    'none',
    [
      ...[
        'DELETE 1',
        'SELECT 1',
        'COMMIT',
        'ROLLBACK',
        'DISCARD ALL',
        'CREATE ROLE',
        'ALTER ROLE',
        'CREATE SEQUENCE',
      ],
      ...[
        'ANALYZE',
        'COPY 3',
        'DROP FUNCTION',
        'CREATE TABLESPACE',
        'DECLARE CURSOR',
        'REINDEX',
        'CLOSE CURSOR',
      ],
    ],
  ],
])('what a tag says of the schema: %s', (expected, tags) => {
  for (const tag of tags) expect(schemaChangeOf(tag), tag).toBe(expected);
});

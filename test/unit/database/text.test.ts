import { expect, test } from 'vitest';
import { quoteIdentifier, quoteLiteral } from '../../../src/database/identifier.ts';
import { dollarQuote, hang, objectName } from '../../../src/database/text.ts';

test('an identifier keeps its quotes, case and bytes', () => {
  expect(quoteIdentifier('a "b" C')).toBe('"a ""b"" C"');
});

test('a literal means the same whatever standard_conforming_strings is', () => {
  expect(quoteLiteral("it's")).toBe("'it''s'");
  expect(quoteLiteral('a\\b')).toBe(" E'a\\\\b'");
});

test('a dollar quote does not occur in what it quotes', () => {
  expect(dollarQuote('SELECT 1')).toBe('$$\nSELECT 1\n$$');
  expect(dollarQuote("SELECT '$$'")).toMatch(/^\$body0\$\n/);
  expect(dollarQuote("SELECT '$$', '$body0$'")).toMatch(/^\$body1\$\n/);
});

test('the name of an object of ours fits 63 bytes, keeps its id and is cut between characters', () => {
  expect(objectName('refresh', 'tv_product', 12)).toBe('refresh_tv_product_12');
  const long = objectName('refresh', `tv_${'ü'.repeat(30)}`, 123);
  expect(Buffer.byteLength(long)).toBeLessThanOrEqual(63);
  expect(long).toMatch(/^refresh_tv_ü+_123$/);
});

test('hanging text indents every line but the first', () => {
  expect(`  ${hang('a\nb', 2)}`).toBe('  a\n  b');
});

import { expect, test } from 'vitest';
import { readableSql } from '../../../src/database/readable-sql.ts';

const reserved: ReadonlySet<string> = new Set(['order', 'select']);
const lines = (sql: string, width = 80): string[] => readableSql(sql, reserved, width).split('\n');

test('quotes only what needs them, and writes equality as people do', () => {
  expect(
    lines(`SELECT "o"."pk"::integer AS "Pk"
FROM changed
JOIN "shop"."order" AS "o" ON "o"."select" OPERATOR(pg_catalog.=) changed."fk"`),
  ).toEqual([
    'SELECT o.pk::integer AS "Pk"',
    'FROM changed',
    'JOIN shop."order" AS o ON o."select" = changed.fk',
  ]);
});

test('breaks a clause that is too long at its conditions and columns, not within a type', () => {
  expect(
    lines(
      `SELECT "a"."x"::numeric(10,2) AS "x", "a"."y"::character varying(20) AS "y"
FROM changed
JOIN "shop"."a" AS "a" ON "a"."m" OPERATOR(pg_catalog.=) changed."m" AND "a"."n" OPERATOR(pg_catalog.=) changed."n"
WHERE "a"."x" IS NOT NULL AND "a"."y" IS NOT NULL`,
      50,
    ),
  ).toEqual([
    'SELECT a.x::numeric(10,2) AS x,',
    '  a.y::character varying(20) AS y',
    'FROM changed',
    'JOIN shop.a AS a',
    '  ON a.m = changed.m',
    '  AND a.n = changed.n',
    'WHERE a.x IS NOT NULL AND a.y IS NOT NULL',
  ]);
});

test('leaves names alone that look like something else', () => {
  const name = '"from OPERATOR(pg_catalog.=) ""(,and"';
  expect(lines(`SELECT changed.${name}::text AS ",", changed."b" AS "b"\nFROM changed`, 20)).toEqual([
    `SELECT changed.${name}::text AS ",",`,
    '  changed.b AS b',
    'FROM changed',
  ]);
});

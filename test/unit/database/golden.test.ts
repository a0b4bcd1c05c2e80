/** The SQL we generate, word for word: a change of it is a decision, seen in the diff of golden/. Rewrite with `vitest -u`. */
import { expect, test } from 'vitest';
import {
  blanketFunction,
  captureEvents,
  captureFunction,
  captureTrigger,
  rowCaptureFunction,
  rowCaptureTrigger,
} from '../../../src/database/capture.ts';
import { compareFunction } from '../../../src/database/compare-function.ts';
import { flushFunction } from '../../../src/database/flush-function.ts';
import { refreshFunction } from '../../../src/database/refresh-function.ts';
import type { Column, RefreshPlan } from '../../../src/definition/plan.ts';

const column = (name: string, type: string, collation: string | null = null): Column => ({
  name,
  type,
  collation,
});
const golden = (name: string, statements: readonly string[]) =>
  expect(`${statements.join('\n\n')}\n`).toMatchFileSnapshot(`golden/${name}.sql`);

/** Orders with a composite key, a lookup, and names that need their quotes. */
const plan: RefreshPlan = {
  table: { schema: 'shop', name: 'tv_order line' },
  view: { schema: 'shop', name: 'v_order line' },
  definition: '',
  columns: [
    column('order_id', 'bigint'),
    column('sku"', 'character varying(20)', 'pg_catalog."C"'),
    column('data', 'jsonb'),
  ],
  key: [column('order_id', 'bigint'), column('sku"', 'character varying(20)', 'pg_catalog."C"')],
  sources: [
    {
      oid: 1,
      table: { schema: 'shop', name: 'line' },
      kind: 'table',
      linkColumns: [
        column('order_id', 'bigint'),
        column('sku"', 'character varying(20)', 'pg_catalog."C"'),
        column('factor', 'numeric'),
      ],
      referencedColumns: ['order_id', 'sku"', 'factor', 'quantity'],
      primaryKey: ['order_id', 'sku"'],
      occurrences: [
        {
          index: 0,
          alias: 'l',
          mapping: 'local',
          keyColumns: ['order_id', 'sku"'],
          path: 'line l',
          keyQuery: 'SELECT changed.order_id, changed."sku""" FROM changed',
          probes: [],
        },
      ],
    },
    {
      oid: 2,
      table: { schema: 'shop', name: 'rate' },
      kind: 'table',
      linkColumns: [column('factor', 'numeric'), column('unit', 'text')],
      referencedColumns: ['factor', 'label', 'unit'],
      primaryKey: null,
      occurrences: [
        {
          index: 1,
          alias: 'r',
          mapping: 'mapped',
          keyColumns: null,
          path: 'rate r → line l (l.factor = r.factor)',
          keyQuery:
            'SELECT l.order_id, l."sku"""\nFROM changed\nJOIN "shop"."line" AS l ON l.factor OPERATOR(pg_catalog.=) changed.factor',
          probes: [],
        },
      ],
    },
    {
      oid: 3,
      table: { schema: 'shop', name: 'unit' },
      kind: 'table',
      linkColumns: [column('code', 'text')],
      referencedColumns: ['code', 'name'],
      primaryKey: ['code'],
      occurrences: [
        {
          index: 2,
          alias: 'u',
          mapping: 'mapped',
          keyColumns: null,
          path: 'unit u → rate r (r.unit = u.code) → line l (l.factor = r.factor)',
          keyQuery: `SELECT l.order_id, l."sku"""
FROM changed
JOIN "shop"."rate" AS r ON r.unit OPERATOR(pg_catalog.=) changed.code
JOIN "shop"."line" AS l ON l.factor OPERATOR(pg_catalog.=) r.factor`,
          probes: [],
        },
      ],
    },
  ],
  locks: {
    keyIsHashed: true,
    edges: [
      {
        farSource: 2,
        nearSource: 1,
        links: [{ far: 'code', near: 'unit', isHashed: true }],
        types: ['text'],
        exclusive: 'far',
        hops: [],
        path: 'unit u → rate r (r.unit = u.code)',
      },
      {
        farSource: 1,
        nearSource: 0,
        links: [{ far: 'factor', near: 'factor', isHashed: true }],
        types: ['numeric'],
        exclusive: 'far',
        hops: [
          {
            edge: 0,
            query: `SELECT DISTINCT t.factor
FROM below
JOIN "shop"."rate" AS t ON t.unit OPERATOR(pg_catalog.=) below.v1`,
          },
        ],
        path: 'rate r → line l (l.factor = r.factor)',
      },
    ],
  },
  advice: [],
};
const keyEquality = ['=', '='];
const sourceIds = [7, 8, 10];
const locks = { lockSpace: 1953916265, lockProtocol: 'value' } as const;

test('capture of a source with a primary key', async () => {
  const { linkColumns, referencedColumns, primaryKey } = plan.sources[0]!;
  const readers = [
    { tview: 3, referencedColumns },
    { tview: 4, referencedColumns: ['order_id', 'sku"'] },
  ];
  const source = { id: 7, linkColumns, referencedColumns, primaryKey, readers };
  await golden(
    'capture-with-key',
    captureEvents.flatMap((event) => [
      captureFunction(source, event, { noticeBytes: 65536 }),
      captureTrigger('"shop"."line"', 7, event, true),
    ]),
  );
});

test('capture of the partitions of a source, of those there are and those to come', async () => {
  const { linkColumns, referencedColumns, primaryKey } = plan.sources[0]!;
  const source = { id: 7, linkColumns, referencedColumns, primaryKey, readers: [] };
  await golden('capture-of-partitions', [
    captureTrigger('"shop"."line of 2026"', 7, 'insert', false),
    rowCaptureFunction(source, { noticeBytes: 65536 }),
    rowCaptureTrigger('"shop"."line"', 7),
    blanketFunction(7, 'update', { noticeBytes: 65536 }),
  ]);
});

test('capture of an update without a primary key', async () => {
  const { linkColumns, referencedColumns, primaryKey } = plan.sources[1]!;
  const source = { id: 8, linkColumns, referencedColumns, primaryKey, readers: [] };
  await golden('capture-without-key', [captureFunction(source, 'update', { noticeBytes: 1000 })]);
});

test('refresh of a tview that another one reads, and its comparison', async () => {
  const asSource = { linkColumns: [column('order_id', 'bigint')], referencedColumns: ['order_id', 'data'] };
  await golden('refresh', [
    refreshFunction({ id: 3, plan, sourceIds, keyEquality, asSource }, { ...locks, fullRefreshShare: 0.15 }),
    compareFunction({ id: 3, plan, keyEquality }),
  ]);
});

/** From before there were locks on values: one lock for all of it. */
const { locks: _, ...older } = { ...plan, table: { schema: 'shop', name: 'tv_order' } };

test('refresh of a tview that is one lock', async () => {
  const tview = { id: 4, plan: older, sourceIds, keyEquality, asSource: null };
  await golden('refresh-one-lock', [refreshFunction(tview, { ...locks, fullRefreshShare: 0.15 })]);
});

test('flush of two tviews, one over the other', async () => {
  await golden('flush', [
    flushFunction(
      [
        { id: 4, plan: older, sourceIds: [9], ownSourceId: null },
        { id: 3, plan, sourceIds, ownSourceId: 9 },
      ],
      locks,
    ),
  ]);
});

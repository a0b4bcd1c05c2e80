/** Changes of the schema made past the proxy: what `tviews init` makes of them. */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { status } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { repairPending } from '../../../src/database/repair.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { changes, changingSchema, expectExact, type Name, names } from './schema-changes.ts';

let database: FreshDatabase;
let owner: pg.Client;
beforeEach(async () => {
  ({ database, owner } = await changingSchema());
});
afterEach(() => database.drop());

describe.each(Object.entries(changes))('%s', (_, change) => {
  test('is followed by init', async () => {
    for (const statement of change.ddl) await owner.query(statement);
    const { followed } = await init(executorOf(owner));
    const outcomes = Object.fromEntries(
      followed.map(({ tview, outcome }) => {
        const name = names.find(
          (one) => (change.called?.[one] ?? `shop.${one}`) === `${tview.schema}.${tview.name}`,
        );
        return [name as Name, outcome];
      }),
    );
    expect(outcomes).toEqual(change.outcomes);
    const { rows: records } = await owner.query('SELECT FROM tviews.repair');
    const isChanged = Object.values(change.outcomes).includes('changed');
    if (!isChanged && change.family === undefined) expect(records).toEqual([]);
    expect((await repairPending(executorOf(owner))).failures).toEqual([]);
    await expectExact(owner, change);
    for (const write of change.writes) {
      await owner.query(write);
      await expectExact(owner, change, write);
    }
    const { pendingMigrations: _, queued: __, toRepair: ___, ...found } = await status(executorOf(owner));
    const isRefused = Object.values(change.outcomes).includes('refused');
    if (!isRefused) expect(found).toMatchObject({ blindTables: [], changedFamilies: [], moved: [] });
    // Nothing is left to be followed.
    const again = await init(executorOf(owner));
    expect(again.followed.filter(({ outcome }) => outcome !== 'refused')).toEqual([]);
  });
});

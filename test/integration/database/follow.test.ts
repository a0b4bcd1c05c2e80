/** Changes of the schema made past the proxy: what `tviews init` makes of them. */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { status } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { repairPending } from '../../../src/database/repair.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { changes, changingSchema, type Name, names, type SchemaChange } from './schema-changes.ts';

let database: FreshDatabase;
let owner: pg.Client;
beforeEach(async () => {
  ({ database, owner } = await changingSchema());
});
afterEach(() => database.drop());

const view = (table: string): string => table.replace('.tv_', '.v_');

async function expectExact(change: SchemaChange, message?: string): Promise<void> {
  for (const name of names) {
    const table = change.called?.[name] ?? `shop.${name}`;
    if (change.outcomes[name] === 'refused') continue;
    // The oracle looks for the view under the table's name.
    const { rows } = await owner.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [
      view(table),
    ]);
    if (!rows[0]!.there) await owner.query(`CREATE VIEW ${view(table)} AS TABLE ${view(`shop.${name}`)}`);
    expect(await divergence(owner, table), `${name} ${message ?? ''}`).toEqual(inStep);
  }
}

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
    await expectExact(change);
    for (const write of change.writes) {
      await owner.query(write);
      await expectExact(change, write);
    }
    const { pendingMigrations: _, queued: __, toRepair: ___, ...found } = await status(executorOf(owner));
    const isRefused = Object.values(change.outcomes).includes('refused');
    if (!isRefused) expect(found).toMatchObject({ blindTables: [], changedFamilies: [], moved: [] });
    // Nothing is left to be followed.
    const again = await init(executorOf(owner));
    expect(again.followed.filter(({ outcome }) => outcome !== 'refused')).toEqual([]);
  });
});

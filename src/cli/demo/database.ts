/** The demo's database on its local server: role, database, our schema, the shop and its tviews. Can be run again. */

import { quoteIdentifier, quoteLiteral } from '../../database/identifier.ts';
import { init } from '../../database/migrate.ts';
import { applyPaths } from '../apply-files.ts';
import { type Connection, connect } from '../connect.ts';
import { plural } from '../terminal.ts';
import { createShop, fillShop, shopDefinitions } from './shop.ts';

/** Name of the role, its password and the database: a demo's, on a server that listens on 127.0.0.1 only. */
const role = 'demo';
const password = 'demo';
export const demoDatabase = 'shop';

/** @returns the URL of the demo's role, straight to the server */
export async function prepareDatabase(superuserUrl: string, note: (line: string) => void): Promise<string> {
  const url = new URL(superuserUrl);
  await using(superuserUrl, async (admin) => {
    const [known] = await admin.query<{ role: boolean; database: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS role,
              EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $2) AS database`,
      [role, demoDatabase],
    );
    if (known?.role !== true) {
      await admin.query(`CREATE ROLE ${quoteIdentifier(role)} LOGIN PASSWORD ${quoteLiteral(password)}`);
    }
    if (known?.database !== true) {
      await admin.query(`CREATE DATABASE ${quoteIdentifier(demoDatabase)} OWNER ${quoteIdentifier(role)}`);
    }
  });
  url.username = role;
  url.password = password;
  url.pathname = `/${demoDatabase}`;
  await using(url.href, async (owner) => {
    await init(owner);
    const [shop] = await owner.query<{ there: boolean }>(
      `SELECT pg_catalog.to_regclass('shop.tb_product') IS NOT NULL AS there`,
    );
    if (shop?.there !== true) {
      note('Filling the shop: 1,000 products, 5,000 reviews');
      // One transaction: a demo interrupted here begins anew.
      await owner.query('BEGIN');
      await createShop(owner);
      await fillShop(owner, '1k');
      await owner.query('COMMIT');
    }
    for (const { tview, action, rows } of await applyPaths(owner, [shopDefinitions])) {
      if (action !== 'unchanged') note(`Tview ${tview} ${action}, ${plural(rows, 'row')}`);
    }
  });
  return url.href;
}

async function using(url: string, work: (connection: Connection) => Promise<void>): Promise<void> {
  const connection = await connect(url);
  try {
    await work(connection);
  } finally {
    await connection.close();
  }
}

/** Makes the demo's shop: its tables and, at a chosen scale, the same rows every time. The SQL is in config/shop. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SqlExecutor } from '../../database/executor.ts';
import { packageRoot } from '../package.ts';

const shopFolder: string = join(packageRoot, 'config', 'shop');

/** The folder of definitions, for `tviews apply`. */
export const shopDefinitions: string = shopFolder;

/** What the definitions read; apart from them, because `tviews apply` takes every file of a folder. */
const tablesFolder: string = join(shopFolder, 'tables');

/** In the order in which they have to be applied. */
export const shopTviews = ['tv_category', 'tv_product', 'tv_supplier', 'tv_supply'] as const;

const scales = {
  '1k': { categories: 10, suppliers: 10, products: 1_000, reviews: 5_000 },
  '100k': { categories: 100, suppliers: 50, products: 100_000, reviews: 500_000 },
  '1m': { categories: 500, suppliers: 200, products: 1_000_000, reviews: 5_000_000 },
} as const;

export type ShopScale = keyof typeof scales;

export async function createShop(executor: SqlExecutor): Promise<void> {
  await executor.query(readFileSync(join(tablesFolder, 'schema.sql'), 'utf8'));
}

/** Fills the tables, which must be empty, and has them analysed. */
export async function fillShop(executor: SqlExecutor, scale: ShopScale): Promise<void> {
  for (const [name, amount] of Object.entries(scales[scale])) {
    await executor.query('SELECT set_config($1, $2, false)', [`shop.${name}`, String(amount)]);
  }
  await executor.query(readFileSync(join(tablesFolder, 'fill.sql'), 'utf8'));
  await executor.query(
    'ANALYZE shop.tb_category, shop.tb_supplier, shop.tb_product, shop.tb_review, shop.tb_inventory',
  );
}

/** SQL of one definition file, a CREATE TVIEW statement. */
export function shopDefinition(name: (typeof shopTviews)[number]): string {
  return readFileSync(join(shopDefinitions, `${name}.sql`), 'utf8');
}

/**
 * What an expert writes to keep the tv_ tables in step with exactly one kind of change, knowing the change: no capture, no
 * derivation of keys, no locks (so it is wrong as soon as two transactions meet). The floor we are measured against.
 */
import { shopTviews } from '../../src/cli/demo/shop.ts';
import {
  type Call,
  categoryOf,
  type OperationName,
  type ShopSize,
  someProduct,
  supplierOf,
  values,
} from './operations.ts';

/** Which tviews are installed: the one upstream's benchmark has, or the whole demo. */
export type SetUp = 'product' | 'all';

export type Tview = (typeof shopTviews)[number];

export const tviewsOf = (setUp: SetUp): readonly Tview[] =>
  setUp === 'product' ? ['tv_product'] : shopTviews;

export const keyOf: Readonly<Record<Tview, string>> = {
  tv_product: 'pk_product',
  tv_category: 'pk_category',
  tv_supplier: 'pk_supplier',
  tv_supply: 'country',
};

const restOf: Readonly<Record<Tview, readonly string[]>> = {
  tv_product: ['id', 'fk_category', 'data'],
  tv_category: ['id', 'slug', 'data'],
  tv_supplier: ['id', 'country', 'data'],
  tv_supply: ['data'],
};

export function upsert(tview: Tview, where: string): string {
  const rest = restOf[tview];
  const columns = [keyOf[tview], ...rest].join(', ');
  return `INSERT INTO shop.${tview} (${columns})
SELECT ${columns} FROM shop.${tview.replace('tv_', 'v_')} WHERE ${where}
ON CONFLICT (${keyOf[tview]}) DO UPDATE SET ${rest.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}`;
}

const product = {
  one: upsert('tv_product', 'pk_product = $1'),
  // Not BETWEEN: its generic plan expects a two-hundredth of the table and takes 9 ms to find one row.
  range: upsert('tv_product', 'pk_product = ANY ($1)'),
  ofCategory: upsert('tv_product', 'fk_category = $1'),
  gone: 'DELETE FROM shop.tv_product WHERE pk_product = $1',
};

const category = {
  one: upsert('tv_category', 'pk_category = $1'),
  ofProducts: upsert(
    'tv_category',
    'pk_category = ANY (ARRAY(SELECT DISTINCT fk_category FROM shop.tb_product WHERE pk_product = ANY ($1)))',
  ),
  withChildren: upsert(
    'tv_category',
    'pk_category = ANY (ARRAY(SELECT pk_category FROM shop.tb_category WHERE pk_category = $1 OR fk_parent_category = $1))',
  ),
};

/** Supplier 0 is none: both statements then find nothing. */
const supplier: readonly string[] = [
  upsert('tv_supplier', 'pk_supplier = $1'),
  upsert('tv_supply', 'country = (SELECT country FROM shop.tb_supplier WHERE pk_supplier = $1)'),
];

type Pick = (sample: number, shop: ShopSize) => string[];

const inserted = (sample: number, shop: ShopSize): number => shop.products + 1 + sample;
const categoryFrom =
  (pick: typeof inserted): Pick =>
  (sample, shop) => [String(categoryOf(pick(sample, shop), shop))];
const supplierFrom =
  (pick: typeof inserted): Pick =>
  (sample, shop) => [String(supplierOf(pick(sample, shop), shop) ?? 0)];

/** A price is in no supplier's document: the expert knows it. */
const statements: Readonly<Record<OperationName, { product: readonly Call[]; others: readonly Call[] }>> = {
  update: {
    product: [{ sql: product.one, values: values.updated }],
    others: [{ sql: category.one, values: categoryFrom(someProduct) }],
  },
  'no-op': {
    product: [{ sql: product.one, values: values.updated }],
    others: [{ sql: category.one, values: categoryFrom(someProduct) }],
  },
  'update 1 %': {
    product: [{ sql: product.range, values: values.keys }],
    others: [{ sql: category.ofProducts, values: values.keys }],
  },
  'no-op 1 %': {
    product: [{ sql: product.range, values: values.keys }],
    others: [{ sql: category.ofProducts, values: values.keys }],
  },
  'rename category': {
    product: [{ sql: product.ofCategory, values: values.category }],
    others: [{ sql: category.withChildren, values: values.category }],
  },
  insert: {
    product: [{ sql: product.one, values: values.inserted }],
    others: [
      { sql: category.one, values: categoryFrom(inserted) },
      ...supplier.map((sql) => ({ sql, values: supplierFrom(inserted) })),
    ],
  },
  delete: {
    product: [{ sql: product.gone, values: values.deleted }],
    others: [
      { sql: category.one, values: categoryFrom(someProduct) },
      ...supplier.map((sql) => ({ sql, values: supplierFrom(someProduct) })),
    ],
  },
};

export function byHand(operation: OperationName, setUp: SetUp): readonly Call[] {
  const { product: own, others } = statements[operation];
  return setUp === 'product' ? own : [...own, ...others];
}

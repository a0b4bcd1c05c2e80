/** What is done to the shop, sample by sample: each operation writes one source and touches other rows every time. */

export interface ShopSize {
  readonly categories: number;
  readonly suppliers: number;
  readonly products: number;
}

/** A statement with the values of one sample. */
export interface Call {
  readonly sql: string;
  readonly values: (sample: number, shop: ShopSize) => string[];
}

export type OperationName =
  | 'update'
  | 'no-op'
  | 'update 1 %'
  | 'no-op 1 %'
  | 'rename category'
  | 'insert'
  | 'delete';

export interface Operation {
  readonly name: OperationName;
  readonly title: string;
  readonly size: 'row' | 'bulk';
  /** Whether those who recompute everything are measured too: what they take does not depend on the operation. */
  readonly slowToo: boolean;
  readonly write: Call;
}

/** Far apart from one sample to the next, and never the same row twice within a cell. */
export const someProduct = (sample: number, { products }: ShopSize): number =>
  1 + ((sample * 7919) % products);

/** A hundredth of the products; the ranges of successive samples are spread over the table. */
function someRange(sample: number, { products }: ShopSize): [first: number, last: number] {
  const rows = products / 100;
  const first = 1 + ((sample * 37) % 100) * rows;
  return [first, first + rows - 1];
}

const newProduct = (sample: number, { products }: ShopSize): number => products + 1 + sample;

/** What config/shop/fill.sql gave a product. */
export const categoryOf = (product: number, { categories }: ShopSize): number => 1 + (product % categories);
export const supplierOf = (product: number, { suppliers }: ShopSize): number | null =>
  product % 10 === 0 ? null : 1 + ((product - Math.floor(product / 10)) % suppliers);

/** The rows of one sample, as the values of a statement: a key, a range of keys, or what a product refers to. */
export const values = {
  updated: (sample: number, shop: ShopSize) => [String(someProduct(sample, shop))],
  range: (sample: number, shop: ShopSize) => someRange(sample, shop).map(String),
  /** The same, each key by itself, as an array. */
  keys: (sample: number, shop: ShopSize) => {
    const [first, last] = someRange(sample, shop);
    return [`{${Array.from({ length: last - first + 1 }, (_, i) => first + i).join(',')}}`];
  },
  category: (sample: number, { categories }: ShopSize) => [String(1 + (sample % categories))],
  inserted: (sample: number, shop: ShopSize) => [String(newProduct(sample, shop))],
  deleted: (sample: number, shop: ShopSize) => [String(someProduct(sample, shop))],
} as const;

const price = (sample: number): string => (1 + ((sample * 13) % 4000) / 100).toFixed(2);
/** Never 1, and another one for each sample of a cell. */
const factor = (sample: number): string => (0.3 + (sample % 60) / 100).toFixed(2);

/** In the order in which they run: what deletes comes last. */
export const operations: readonly Operation[] = [
  {
    name: 'update',
    title: 'UPDATE of one price',
    size: 'row',
    slowToo: true,
    write: {
      sql: 'UPDATE shop.tb_product SET current_price = $2 WHERE pk_product = $1',
      values: (sample, shop) => [...values.updated(sample, shop), price(sample)],
    },
  },
  {
    name: 'no-op',
    title: 'UPDATE of one price to what it is',
    size: 'row',
    slowToo: false,
    write: {
      sql: 'UPDATE shop.tb_product SET current_price = current_price WHERE pk_product = $1',
      values: values.updated,
    },
  },
  {
    name: 'update 1 %',
    title: 'UPDATE of 1 % of the prices',
    size: 'bulk',
    slowToo: true,
    write: {
      sql: `UPDATE shop.tb_product SET current_price = round(base_price * $3, 2)
            WHERE pk_product BETWEEN $1 AND $2`,
      values: (sample, shop) => [...values.range(sample, shop), factor(sample)],
    },
  },
  {
    name: 'no-op 1 %',
    title: 'UPDATE of 1 % of the prices to what they are',
    size: 'bulk',
    slowToo: false,
    write: {
      sql: 'UPDATE shop.tb_product SET current_price = current_price WHERE pk_product BETWEEN $1 AND $2',
      values: values.range,
    },
  },
  {
    name: 'rename category',
    title: 'rename of a category',
    size: 'bulk',
    slowToo: true,
    write: {
      sql: 'UPDATE shop.tb_category SET name = $2 WHERE pk_category = $1',
      values: (sample, shop) => [...values.category(sample, shop), `Renamed ${sample}`],
    },
  },
  {
    name: 'insert',
    title: 'INSERT of one product',
    size: 'row',
    slowToo: false,
    write: {
      sql: `INSERT INTO shop.tb_product (
              pk_product, fk_category, fk_supplier, sku, name, description, base_price, current_price
            )
            VALUES ($1, $2, nullif($3, 0), $4, 'New lamp', 'Made by the benchmark.', 20, $5)`,
      values: (sample, shop) => {
        const product = newProduct(sample, shop);
        return [
          String(product),
          String(categoryOf(product, shop)),
          String(supplierOf(product, shop) ?? 0),
          `NEW-${product}`,
          price(sample),
        ];
      },
    },
  },
  {
    name: 'delete',
    title: 'DELETE of one product (with its five reviews and its stock)',
    size: 'row',
    slowToo: false,
    write: { sql: 'DELETE FROM shop.tb_product WHERE pk_product = $1', values: values.deleted },
  },
];

/** Random writes of a few rows of a hot set, of every kind a source can see. */
import type { Random } from '../../kit/random.ts';
import {
  columnsOf,
  hotRows,
  keyLiterals,
  type Link,
  linkLiterals,
  type Schema,
  type Table,
  valueColumns,
} from './schema.ts';

const { number: x, text: s, flag: f } = valueColumns;

export function randomWrite(random: Random, schema: Schema, truncates: boolean): string {
  // WITH: several tables in one statement, so that all of them are written before any trigger fires.
  if (random.chance(0.04)) {
    const [one, two, three] = random.list(3, () => single(random, schema, false));
    return `WITH one AS (${one} RETURNING 1), two AS (${two} RETURNING 1) ${three}`;
  }
  if (truncates && random.chance(0.005)) {
    return `TRUNCATE ${writtenName(random, random.pick(schema.tables), 0.5)} CASCADE`;
  }
  return single(random, schema);
}

/** The table, or one of its partitions now and then. */
const writtenName = (random: Random, { name, partitions }: Table, share: number): string =>
  partitions.length > 0 && random.chance(share) ? random.pick(partitions) : name;

/** An upsert may not meet a row that another part of its statement has written. */
function single(random: Random, schema: Schema, mayUpsert = true): string {
  const table = random.pick(schema.tables);
  const write = new Write(random, schema, table);
  const name = writtenName(random, table, 0.4);
  const hasLinks = table.links.length > 0;
  switch (
    random.weighted({
      value: 24,
      move: hasLinks ? 20 : 0,
      toggle: 8,
      insert: 12,
      upsert: mayUpsert ? 9 : 0,
      refill: 2,
      remove: 8,
      rekey: 2,
      bulkValue: 5,
      bulkMove: hasLinks ? 4 : 0,
      bulkRemove: hasLinks ? 1 : 0,
      nothing: 1,
    })
  ) {
    case 'value':
      return `UPDATE ${name} SET ${write.value()} WHERE ${write.oneRow()}`;
    case 'move':
      return `UPDATE ${name} SET ${write.move()} WHERE ${write.oneRow()}`;
    case 'toggle':
      return `UPDATE ${name} SET ${f} = NOT ${f} WHERE ${write.oneRow()}`;
    case 'insert':
      return `${write.insert(1)}${random.chance(0.85) ? ' ON CONFLICT DO NOTHING' : ''}`;
    case 'upsert':
      return write.upsert(random.int(1, 2));
    case 'refill':
      return `${write.insert(hotRows)} ON CONFLICT DO NOTHING`;
    case 'remove':
      return `DELETE FROM ${name} WHERE ${write.oneRow()}`;
    case 'rekey':
      return `UPDATE ${name} SET ${write.rekey()} WHERE ${write.oneRow()}`;
    case 'bulkValue':
      return `UPDATE ${name} SET ${x} = (${x} + 1) % 7 WHERE ${write.someRows()}`;
    case 'bulkMove':
      return `UPDATE ${name} SET ${write.move()} WHERE ${write.someRows()}`;
    case 'bulkRemove':
      return `DELETE FROM ${name} WHERE ${write.someRows()} AND ${x} > 3`;
    case 'nothing':
      return `UPDATE ${name} SET ${x} = ${x} WHERE ${write.oneRow()}`;
  }
}

const assign = (columns: readonly string[], values: readonly string[]): string =>
  columns.map((column, i) => `${column} = ${values[i]!}`).join(', ');
const equal = (columns: readonly string[], values: readonly string[]): string =>
  columns
    .map((column, i) => (values[i] === 'NULL' ? `${column} IS NULL` : `${column} = ${values[i]!}`))
    .join(' AND ');

class Write {
  readonly #random: Random;
  readonly #schema: Schema;
  readonly #table: Table;

  constructor(random: Random, schema: Schema, table: Table) {
    this.#random = random;
    this.#schema = schema;
    this.#table = table;
  }

  value(): string {
    return this.#random.chance(0.75) ? `${x} = ${this.#number()}` : `${s} = ${this.#text()}`;
  }

  #number(): string {
    return this.#random.chance(0.06) ? 'NULL' : String(this.#random.int(0, 6));
  }

  #text(): string {
    return this.#random.chance(0.06) ? 'NULL' : `'${this.#random.pick([...'abcdef'])}'`;
  }

  move(): string {
    const link = this.#random.pick(this.#table.links);
    return assign(link.columns, this.#target(link));
  }

  #target(link: Link): string[] {
    if (link.nullable && this.#random.chance(0.15)) return linkLiterals(this.#schema, link, null);
    // One too many where nothing forbids it: a link that leads nowhere, until somebody inserts that row.
    const most = link.foreignKey === null ? hotRows + 1 : hotRows;
    return linkLiterals(this.#schema, link, this.#random.int(1, most));
  }

  oneRow(): string {
    if (this.#table.isLinkTable) {
      return this.#table.links.map((link) => equal(link.columns, this.#target(link))).join(' AND ');
    }
    return equal(this.#keyColumns(), keyLiterals(this.#table, this.#row()));
  }

  rekey(): string {
    if (this.#table.isLinkTable) return this.move();
    return assign(this.#keyColumns(), keyLiterals(this.#table, this.#random.int(1, hotRows + 1)));
  }

  someRows(): string {
    if (this.#table.links.length === 0 || this.#random.chance(0.3)) {
      return this.#random.pick([f, `NOT ${f}`, `${x} < ${this.#random.int(1, 5)}`]);
    }
    const link = this.#random.pick(this.#table.links);
    return equal(link.columns, this.#target(link));
  }

  #keyColumns(): string[] {
    return this.#table.key.map(({ name }) => name);
  }

  #row(): number {
    return this.#random.int(1, hotRows);
  }

  insert(rows: number): string {
    const columns = columnsOf(this.#schema, this.#table).map(({ name }) => name);
    // Each row once: an upsert may not touch one twice.
    const first = this.#row();
    const tuples = this.#random.list(rows, (i) => {
      const key = this.#table.isLinkTable ? [] : keyLiterals(this.#table, 1 + ((first + i) % hotRows));
      const links = this.#table.links.flatMap((link) => this.#target(link));
      return `(${[...key, ...links, this.#number(), this.#text(), String(this.#random.chance(0.7))].join(', ')})`;
    });
    // Seldom: half of the rows are another partition's, and an error.
    const name = writtenName(this.#random, this.#table, rows === 1 ? 0.2 : 0);
    return `INSERT INTO ${name} (${columns.join(', ')}) VALUES ${tuples.join(', ')}`;
  }

  upsert(rows: number): string {
    const set = [
      x,
      s,
      f,
      ...(this.#table.isLinkTable ? [] : this.#table.links.flatMap(({ columns }) => columns)),
    ];
    return `${this.insert(this.#table.isLinkTable ? 1 : rows)} ON CONFLICT (${this.#keyColumns().join(', ')}) DO UPDATE SET ${set.map((column) => `${column} = EXCLUDED.${column}`).join(', ')}`;
  }
}

/** Every row of every table, parents first; what is there stays. */
export function refill(random: Random, schema: Schema): string[] {
  return schema.tables.map(
    (table) => `${new Write(random, schema, table).insert(hotRows)} ON CONFLICT DO NOTHING`,
  );
}

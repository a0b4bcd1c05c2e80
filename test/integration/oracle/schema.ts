/**
 * Random schemas: few tables, keys of every kind, links with and without foreign keys. A table's rows are numbered from 1 to
 * `hotRows`; what number 3 is as a key depends on the key's type. So few, that transactions meet all the time.
 */
import type { Random } from '../../kit/random.ts';

export const hotRows = 6;

type KeyType = 'integer' | 'bigint' | 'text' | 'uuid' | 'numeric(6,2)';

interface KeyColumn {
  readonly name: string;
  readonly type: KeyType;
}

/** Columns of a table that name the row of another, by a foreign key or without one. */
export interface Link {
  /** One for each key column of the target. */
  readonly columns: readonly string[];
  readonly target: string;
  readonly nullable: boolean;
  readonly foreignKey: { readonly onDelete: string; readonly onUpdate: string } | null;
  readonly indexed: boolean;
}

export interface Table {
  readonly name: string;
  readonly key: readonly KeyColumn[];
  readonly links: readonly Link[];
  /** A link table's key is the columns of its links. */
  readonly isLinkTable: boolean;
  /** Names of its partitions, by the hash of the first column of its key; empty where it has none. */
  readonly partitions: readonly string[];
}

/** Every table has these beside its key and its links. */
export const valueColumns = { number: 'x', text: 's', flag: 'f' } as const;

export interface Schema {
  readonly tables: readonly Table[];
}

export const tableOf = (schema: Schema, name: string): Table =>
  schema.tables.find((table) => table.name === name)!;

export function randomSchema(random: Random): Schema {
  const tables: Table[] = [];
  const count = random.int(3, 6);
  for (let i = 1; i <= count; i++) {
    const targets = tables.filter(({ isLinkTable }) => !isLinkTable);
    const name = `t${i}`;
    tables.push(
      targets.length >= 2 && random.chance(0.25)
        ? linkTable(random, name, targets)
        : entity(random, name, targets),
    );
  }
  return { tables };
}

function entity(random: Random, name: string, targets: readonly Table[]): Table {
  const key = randomKey(random);
  const links: Link[] = [];
  if (targets.length > 0) {
    const wanted = random.weighted({ one: 5, two: 4, none: 1 });
    const first = random.pick(targets);
    if (wanted !== 'none') links.push(randomLink(random, 'a', first));
    // The same table again every so often: a lookup that is used twice.
    if (wanted === 'two')
      links.push(randomLink(random, 'b', random.chance(0.3) ? first : random.pick(targets)));
  }
  const self: Table = { name, key, links, isLinkTable: false, partitions: randomPartitions(random, name) };
  if (random.chance(0.2)) links.push({ ...randomLink(random, 'p', self), ...nullable(self, 'p') });
  return self;
}

const nullable = (target: Table, name: string): Pick<Link, 'columns' | 'nullable'> => ({
  columns: linkColumns(name, target),
  nullable: true,
});

function linkTable(random: Random, name: string, targets: readonly Table[]): Table {
  const first = random.pick(targets);
  const second = random.pick(targets);
  const links = [randomLink(random, 'a', first), randomLink(random, 'b', second)].map((link) => ({
    ...link,
    nullable: false,
    foreignKey:
      link.foreignKey?.onDelete === 'SET NULL'
        ? { ...link.foreignKey, onDelete: 'CASCADE' }
        : link.foreignKey,
  }));
  const types = [...first.key, ...second.key].map(({ type }) => type);
  const key = links.flatMap(({ columns }) => columns).map((column, i) => ({ name: column, type: types[i]! }));
  return { name, key, links, isLinkTable: true, partitions: randomPartitions(random, name) };
}

const randomPartitions = (random: Random, name: string): string[] =>
  random.chance(0.2) ? [`${name}_p0`, `${name}_p1`] : [];

function randomKey(random: Random): KeyColumn[] {
  switch (random.weighted({ integer: 5, bigint: 1, text: 3, uuid: 2, numeric: 1, composite: 3 })) {
    case 'integer':
      return [{ name: 'k', type: 'integer' }];
    case 'bigint':
      return [{ name: 'k', type: 'bigint' }];
    case 'text':
      return [{ name: 'k', type: 'text' }];
    case 'uuid':
      return [{ name: 'k', type: 'uuid' }];
    case 'numeric':
      return [{ name: 'k', type: 'numeric(6,2)' }];
    case 'composite':
      return [
        { name: 'k1', type: random.chance(0.5) ? 'integer' : 'uuid' },
        { name: 'k2', type: 'text' },
      ];
  }
}

const linkColumns = (name: string, target: Table): string[] =>
  target.key.map((_, i) => (target.key.length === 1 ? `r${name}` : `r${name}${i + 1}`));

function randomLink(random: Random, name: string, target: Table): Link {
  const isNullable = random.chance(0.6);
  const onDelete = random.weighted({
    CASCADE: 4,
    'SET NULL': isNullable ? 4 : 0,
    'NO ACTION': 2,
  });
  return {
    columns: linkColumns(name, target),
    target: target.name,
    nullable: isNullable,
    foreignKey: random.chance(0.65)
      ? { onDelete, onUpdate: random.chance(0.7) ? 'CASCADE' : 'NO ACTION' }
      : null,
    indexed: random.chance(0.7),
  };
}

export function ddl(schema: Schema): string {
  return schema.tables.map((table) => tableDdl(schema, table)).join('\n');
}

function tableDdl(schema: Schema, table: Table): string {
  const key = table.key.map(({ name }) => name);
  const primaryKey = new Set(key);
  const columns = columnsOf(schema, table).map(
    ({ name, type, notNull }) => `${name} ${type}${notNull || primaryKey.has(name) ? ' NOT NULL' : ''}`,
  );
  const foreign = table.links.flatMap(({ columns: own, target, foreignKey }) => {
    if (foreignKey === null) return [];
    const theirs = tableOf(schema, target).key.map(({ name }) => name);
    return [
      `FOREIGN KEY (${own.join(', ')}) REFERENCES ${target} (${theirs.join(', ')}) ON DELETE ${foreignKey.onDelete} ON UPDATE ${foreignKey.onUpdate}`,
    ];
  });
  const indexes = table.links
    .filter(({ indexed }) => indexed)
    .map((link) => `\nCREATE INDEX ON ${table.name} (${link.columns.join(', ')});`);
  const parts = [...columns, `PRIMARY KEY (${key.join(', ')})`, ...foreign].join(',\n  ');
  if (table.partitions.length > 0) {
    // Its columns in another order, with one between them that is gone.
    const turned = ['gone integer', ...columns.toReversed()].join(', ');
    const [first, second] = table.partitions;
    return `CREATE TABLE ${table.name} (\n  ${parts}\n) PARTITION BY HASH (${key[0]});
CREATE TABLE ${first} PARTITION OF ${table.name} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE ${second} (${turned});
ALTER TABLE ${second} DROP COLUMN gone;
ALTER TABLE ${table.name} ATTACH PARTITION ${second} FOR VALUES WITH (MODULUS 2, REMAINDER 1);${indexes.join('')}`;
  }
  // What a crash loses is of no interest here, and not writing it ahead is faster. But no partitioned table can be unlogged,
  // and none that is logged can refer to one that is not.
  const unlogged = schema.tables.some(({ partitions }) => partitions.length > 0) ? '' : ' UNLOGGED';
  return `CREATE${unlogged} TABLE ${table.name} (\n  ${parts}\n);${indexes.join('')}`;
}

export interface ColumnOf {
  readonly name: string;
  readonly type: string;
  readonly notNull: boolean;
}

export function columnsOf(schema: Schema, table: Table): ColumnOf[] {
  const key = table.isLinkTable ? [] : table.key.map((column) => ({ ...column, notNull: true }));
  const links = table.links.flatMap(({ columns, target, nullable: mayBeNull }) =>
    columns.map((name, i) => ({ name, type: tableOf(schema, target).key[i]!.type, notNull: !mayBeNull })),
  );
  return [
    ...key,
    ...links,
    { name: valueColumns.number, type: 'integer', notNull: false },
    { name: valueColumns.text, type: 'text', notNull: false },
    { name: valueColumns.flag, type: 'boolean', notNull: true },
  ];
}

/** The key of row `number` of a table, as literals, one for each key column. */
export function keyLiterals(table: Table, number: number): string[] {
  if (table.key.length === 1) return [literal(table.key[0]!.type, number)];
  // Halves, so that rows share one column of a composite key.
  return [literal(table.key[0]!.type, Math.ceil(number / 2)), literal(table.key[1]!.type, number % 2)];
}

function literal(type: KeyType, number: number): string {
  switch (type) {
    case 'integer':
    case 'bigint':
      return String(number);
    case 'numeric(6,2)':
      return `${number}.50`;
    case 'text':
      return `'k${number}'`;
    case 'uuid':
      return `'00000000-0000-4000-8000-00000000000${number}'`;
  }
}

/** A link's columns for the row `number` of its target; null for none. */
export function linkLiterals(schema: Schema, link: Link, number: number | null): string[] {
  return number === null ? link.columns.map(() => 'NULL') : keyLiterals(tableOf(schema, link.target), number);
}

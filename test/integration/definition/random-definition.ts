/**
 * Random SELECTs over the tables of property.sql: of every construct a definition can be made of, those that are derived and
 * those that are not, in any combination that PostgreSQL may or may not accept. Everything in them is determined by the
 * rows: orders are total over what is shown.
 */
import type { Random } from '../../kit/random.ts';

/** Integer columns, the primary key first. */
const tables: Readonly<Record<string, readonly string[]>> = {
  g: ['id', 'tenant', 'extra'],
  a: ['id', 'g_id', 'extra'],
  l: ['id', 'kind', 'extra'],
  b: ['id', 'a_id', 'l_id', 'x'],
  c: ['id', 'b_id', 'x', 'y'],
  n: ['id', 'parent_id', 'extra'],
  o: ['shop', 'no'],
  li: ['shop', 'no', 'line', 'qty'],
  w: ['id', 'extra'],
};
/** The columns that are arrays of integers. */
const arrays: Readonly<Record<string, string>> = { w: 'ids' };
const keys: ReadonlySet<string> = new Set(['o.no', 'li.no', 'li.line']);
const references: readonly (readonly [string, string, string, string])[] = [
  ['a', 'g_id', 'g', 'id'],
  ['b', 'a_id', 'a', 'id'],
  ['b', 'l_id', 'l', 'id'],
  ['c', 'b_id', 'b', 'id'],
  ['n', 'parent_id', 'n', 'id'],
  ['li', 'shop', 'o', 'shop'],
  ['li', 'no', 'o', 'no'],
];

const orNull = (random: Random, value: number): string => (random.chance(0.25) ? 'NULL' : String(value));

/** Rows whose references lead somewhere, or nowhere at all, and a transaction over them. */
export function randomScript(random: Random): { readonly initial: string[]; readonly change: string[] } {
  const row = (table: string, id: number): string =>
    tables[table]!.map((column, i) =>
      i === 0 || keys.has(`${table}.${column}`)
        ? i === 0
          ? id
          : random.int(1, 2)
        : orNull(random, random.int(1, 4)),
    ).join(', ');
  const insert = (table: string, ids: readonly number[]): string =>
    arrays[table] === undefined
      ? `INSERT INTO ${table} (${tables[table]!.join(', ')}) VALUES ${ids.map((id) => `(${row(table, id)})`).join(', ')} ON CONFLICT DO NOTHING`
      : `INSERT INTO ${table} (${tables[table]!.join(', ')}, ${arrays[table]}) VALUES ${ids.map((id) => `(${row(table, id)}, ${array()})`).join(', ')} ON CONFLICT DO NOTHING`;
  const array = (): string =>
    orNull(random, 0) === 'NULL'
      ? 'NULL'
      : `'{${random.list(random.int(0, 3), () => orNull(random, random.int(1, 4))).join(',')}}'`;
  const initial = Object.keys(tables).map((table) =>
    insert(table, table === 'li' ? [1, 1, 2, 3, 4] : [1, 2, 3, 4]),
  );
  const change = random.list(random.int(3, 10), () => {
    const table = random.pick(Object.keys(tables));
    const [id, ...others] = tables[table]!;
    const where = `WHERE ${id} = ${random.int(1, 4)}`;
    switch (random.weighted({ update: 6, all: 1, insert: 2, delete: 2, rename: 1 })) {
      case 'update':
        if (arrays[table] !== undefined && random.chance(0.6))
          return `UPDATE ${table} SET ${arrays[table]} = ${array()} ${where}`;
        return `UPDATE ${table} SET ${random.pick(others)} = ${orNull(random, random.int(1, 4))} ${where}`;
      case 'all':
        return `UPDATE ${table} SET ${random.pick(others)} = ${orNull(random, random.int(1, 4))}`;
      case 'insert':
        return insert(table, [random.int(1, 6)]);
      case 'delete':
        return `DELETE FROM ${table} ${where}`;
      case 'rename':
        return `UPDATE ${table} SET ${id} = ${random.int(4, 6)} ${where}`;
    }
  });
  return { initial, change };
}

interface Item {
  readonly alias: string;
  readonly columns: readonly string[];
  /** Null for what is no table. */
  readonly table: string | null;
}

/** Columns k (the key), v (a number) and d (a text); with a composite key also k2. */
export interface RandomDefinition {
  readonly sql: string;
  readonly key: readonly string[];
  /** The constructs in it. */
  readonly constructs: ReadonlySet<string>;
}

export function randomDefinition(random: Random): RandomDefinition {
  const writer = new Writer(random, random.chance(0.12));
  const sql = writer.query(random.int(1, 3), [], 'top');
  return { sql, key: writer.keys, constructs: writer.constructs };
}

class Writer {
  readonly constructs = new Set<string>();
  readonly keys: readonly string[];
  readonly #random: Random;
  #aliases = 0;

  constructor(random: Random, isComposite: boolean) {
    this.#random = random;
    this.keys = isComposite ? ['k', 'k2'] : ['k'];
  }

  #use(construct: string): void {
    this.constructs.add(construct);
  }

  query(depth: number, outer: readonly Item[], place: 'top' | 'from'): string {
    const kind = this.#random.weighted({
      select: 14,
      union: 2,
      difference: 1,
      with: 1,
      recursive: place === 'top' ? 0.3 : 0.15,
    });
    const branch = (): string => this.select(depth - 1, outer, 'branch');
    switch (kind) {
      case 'select':
        return this.select(depth, outer, place);
      case 'union': {
        this.#use('UNION');
        const all = this.#random.pick([' UNION ALL ', ' UNION ']);
        return this.#random.list(this.#random.int(2, 3), branch).join(all);
      }
      case 'difference': {
        const operation = this.#random.pick(['INTERSECT', 'EXCEPT', 'EXCEPT ALL']);
        this.#use(operation.replace(' ALL', ''));
        return `${branch()} ${operation} ${branch()}`;
      }
      case 'with': {
        this.#use('WITH');
        const name = this.#alias('w');
        const inner = this.query(depth - 1, [], 'from');
        const columns = [...this.keys, 'v', 'd'];
        const item = { alias: name, columns: [...this.keys, 'v'], table: null };
        const [other] = [this.#table()];
        const kind = this.#random.pick(['JOIN', 'LEFT JOIN']);
        return `WITH ${name} (${columns.join(', ')}) AS (${inner}) SELECT ${this.#keyList(item, other)}, ${other.alias}.${this.#random.pick(other.columns)} AS v, ${name}.d FROM ${name} ${kind} ${other.table} ${other.alias} ON ${this.#link([item], other)}`;
      }
      case 'recursive': {
        this.#use('WITH RECURSIVE');
        const second = this.keys.length === 2 ? ', t.id' : '';
        return `WITH RECURSIVE t (id, up) AS (SELECT n.id, n.parent_id FROM n WHERE n.parent_id IS NULL UNION SELECT n.id, n.parent_id FROM n JOIN t ON n.parent_id = t.id) SELECT t.id AS k${second && `${second} AS k2`}, t.up AS v, 'x'::text AS d FROM t`;
      }
    }
  }

  #alias(prefix = 't'): string {
    this.#aliases += 1;
    return `${prefix}${this.#aliases}`;
  }

  #table(name = this.#random.pick(Object.keys(tables))): Item & { readonly table: string } {
    return { alias: this.#alias(), columns: tables[name]!, table: name };
  }

  /** A table that refers to one of the items or is referred to, more often than any. */
  #related(items: readonly Item[]): Item & { readonly table: string } {
    const names = references.flatMap(([from, , to]) => [
      ...(items.some(({ table }) => table === from) ? [to] : []),
      ...(items.some(({ table }) => table === to) ? [from] : []),
    ]);
    return names.length > 0 && this.#random.chance(0.85)
      ? this.#table(this.#random.pick(names))
      : this.#table();
  }

  #column(items: readonly Item[]): string {
    const item = this.#random.pick(items);
    return `${item.alias}.${this.#random.pick(item.columns)}`;
  }

  /** A column that is mostly a primary key's, or what is computed from one or two. */
  #keyColumn(item: Item, place = 0): string {
    const { alias, columns } = item;
    const column = `${alias}.${this.#random.chance(0.85) ? columns[Math.min(place, columns.length - 1)]! : this.#random.pick(columns)}`;
    if (this.#random.chance(0.88)) return column;
    this.#use('computed key');
    const other = this.#column([item]);
    return this.#random.pick([
      `(${column} / 2)`,
      `(${other} % 3)`,
      `(${column} + ${other})`,
      `COALESCE(${other}, 0)`,
      `COALESCE(${other}, ${column})`,
      `GREATEST(${column}, ${other})`,
      `length(${column}::text)`,
      `floor(${column} / 2.0)::int`,
      `round(${column} / 4.0, 1)::int`,
      `CASE WHEN ${other} > 2 THEN ${column} ELSE 0 END`,
      `CASE ${other} WHEN 1 THEN 1 ELSE 2 END`,
      `(${other} IS NULL)::int`,
    ]);
  }

  #keyList(item: Item, second: Item = item): string {
    return this.keys
      .map(
        (name, i) => `${this.#keyColumn(i === 0 || this.#random.chance(0.8) ? item : second, i)} AS ${name}`,
      )
      .join(', ');
  }

  /** A condition between some items and another one, mostly an equality. */
  #link(items: readonly Item[], other: Item): string {
    const pairs = items.flatMap((item) =>
      references.flatMap(([from, column, to, target]) => [
        ...(item.table === from && other.table === to
          ? [`${item.alias}.${column} = ${other.alias}.${target}`]
          : []),
        ...(item.table === to && other.table === from
          ? [`${other.alias}.${column} = ${item.alias}.${target}`]
          : []),
      ]),
    );
    if (pairs.length > 0 && this.#random.chance(0.8)) return this.#random.pick(pairs);
    const element = this.#elementLink(items, other);
    if (element !== null && this.#random.chance(0.7)) return element;
    const [left, right] = [this.#column(items), this.#column([other])];
    switch (this.#random.weighted({ equal: 18, range: 1, or: 1, distinct: 1 })) {
      case 'equal':
        return `${left} = ${right}`;
      case 'range':
        this.#use('range');
        return `${left} < ${right}`;
      case 'or':
        this.#use('OR');
        return `(${left} = ${right} OR ${this.#column(items)} = ${right})`;
      case 'distinct':
        this.#use('IS NOT DISTINCT FROM');
        return `${left} IS NOT DISTINCT FROM ${right}`;
    }
  }

  /** A column on one side is an element of an array on the other. */
  #elementLink(items: readonly Item[], other: Item): string | null {
    const sides = items.flatMap((item) => [
      { item, holder: other },
      { item: other, holder: item },
    ]);
    const found = sides.filter(({ holder }) => holder.table !== null && arrays[holder.table] !== undefined);
    if (found.length === 0) return null;
    const { item, holder } = this.#random.pick(found);
    this.#use('array of keys');
    const array = `${holder.alias}.${arrays[holder.table!]!}`;
    const value = this.#keyColumn(item);
    return this.#random.pick([
      `${value} = ANY (${array})`,
      `${array} @> ARRAY[${value}]`,
      `${value} IN (SELECT unnest(${array}))`,
      `EXISTS (SELECT 1 FROM unnest(${array}) AS e(x) WHERE e.x = ${value})`,
    ]);
  }

  #filter(items: readonly Item[], depth: number): string {
    const column = this.#column(items);
    const value = this.#random.int(1, 4);
    switch (
      this.#random.weighted({
        compare: 4,
        filled: 2,
        empty: 1,
        exists: depth > 0 ? 2 : 0,
        in: depth > 0 ? 2 : 0,
        tableExpression: 0.3,
      })
    ) {
      case 'compare':
        return `${column} ${this.#random.pick(['<', '>', '=', '<>'])} ${value}`;
      case 'filled':
        return `${column} IS NOT NULL`;
      case 'empty':
        return `${column} IS NULL`;
      case 'tableExpression': {
        const other = this.#column(items);
        const [construct, rows] = this.#random.pick([
          [
            'JSON_TABLE',
            `JSON_TABLE(jsonb_build_array(${column}, ${other}), '$[*]' COLUMNS (x int PATH '$'))`,
          ],
          [
            'XMLTABLE',
            `XMLTABLE('/r/v' PASSING xmlelement(name r, xmlelement(name v, ${column})) COLUMNS x int PATH 'text()')`,
          ],
        ] as const);
        this.#use(construct);
        return `EXISTS (SELECT 1 FROM ${rows} AS e WHERE e.x > ${this.#random.chance(0.5) ? value : other})`;
      }
      case 'exists': {
        const not = this.#random.chance(0.4) ? 'NOT ' : '';
        this.#use(`${not}EXISTS`);
        return `${not}EXISTS (${this.#correlated(items, depth - 1, '1')})`;
      }
      case 'in': {
        const not = this.#random.chance(0.3) ? 'NOT ' : '';
        this.#use(`${not}IN`);
        const other = this.#related(items);
        const where = this.#random.chance(not === '' ? 0.3 : 0.8) ? ` WHERE ${this.#link(items, other)}` : '';
        return `${column} ${not}IN (SELECT ${other.alias}.${this.#random.pick(other.columns)} FROM ${other.table} ${other.alias}${where})`;
      }
    }
  }

  /** A subquery that sees the items; `expression` may be one over its rows. */
  #correlated(items: readonly Item[], depth: number, expression: string | ((item: Item) => string)): string {
    const inner = this.#random.chance(0.8) || depth <= 0 ? this.#related(items) : null;
    const item = inner ?? { alias: this.#alias('s'), columns: [...this.keys, 'v'], table: null };
    const from =
      inner === null
        ? `(${this.query(depth - 1, [], 'from')}) ${item.alias}`
        : `${inner.table} ${inner.alias}`;
    const conditions = this.#random.chance(0.93) ? [this.#correlation(items, item)] : ['true'];
    if (conditions[0] === 'true') this.#use('uncorrelated');
    let joined = '';
    if (this.#random.chance(0.3)) {
      const next = this.#related([item]);
      joined = ` ${this.#random.pick(['JOIN', 'LEFT JOIN'])} ${next.table} ${next.alias} ON ${this.#link([item], next)}`;
      if (this.#random.chance(0.3)) conditions.push(this.#filter([next], depth - 1));
    }
    const shown = typeof expression === 'string' ? expression : expression(item);
    return `SELECT ${shown} FROM ${from}${joined} WHERE ${conditions.join(' AND ')}`;
  }

  /** What links a subquery to the items outside: mostly a link, or a table in the middle that is itself in a subquery. */
  #correlation(items: readonly Item[], item: Item): string {
    if (this.#random.chance(0.75)) return this.#link(items, item);
    const middle = this.#related([item]);
    const from = `FROM ${middle.table} ${middle.alias}`;
    const outward = this.#link(items, middle);
    if (this.#random.chance(0.5)) {
      this.#use('IN in the middle');
      const column = this.#column([middle]);
      const shown = this.#random.weighted({ [column]: 8, [`max(${column})`]: 1 });
      return `${this.#column([item])} IN (SELECT ${shown} ${from} WHERE ${outward})`;
    }
    this.#use('EXISTS in the middle');
    const shown = this.#random.weighted({ 1: 8, 'count(*)': 1, 'COALESCE(max(1), 1)': 1 });
    const groups = this.#random.weighted({
      '': 10,
      [` GROUP BY ${middle.alias}.${middle.columns[0]}`]: 1,
      ' HAVING count(*) < 2': 1,
    });
    return `EXISTS (SELECT ${shown} ${from} WHERE ${this.#link([item], middle)} AND ${outward}${groups})`;
  }

  #fromItem(depth: number, before: readonly Item[]): { readonly item: Item; readonly text: string } {
    if (depth <= 0 || this.#random.chance(0.72)) {
      const item = before.length === 0 ? this.#table() : this.#related(before);
      return { item, text: `${item.table} ${item.alias}` };
    }
    const alias = this.#alias('q');
    return {
      item: { alias, columns: [...this.keys, 'v'], table: null },
      text: `(${this.query(depth - 1, [], 'from')}) ${alias} (${[...this.keys, 'v', 'd'].join(', ')})`,
    };
  }

  #from(depth: number): {
    readonly items: readonly Item[];
    readonly text: string;
    readonly where: readonly string[];
    /** What is there whichever side of a FULL JOIN is. */
    readonly either: readonly string[];
  } {
    const either: string[] = [];
    const first = this.#fromItem(depth, []);
    const items = [first.item];
    const where: string[] = [];
    let text = first.text;
    const more = this.#random.weighted({ 0: 5, 1: 5, 2: 2 });
    for (let i = 0; i < Number(more); i++) {
      const { item, text: next } = this.#fromItem(depth - 1, items);
      const kind = this.#random.weighted({
        JOIN: 6,
        'LEFT JOIN': 6,
        'RIGHT JOIN': 2,
        'FULL JOIN': 1,
        'CROSS JOIN': 1,
      });
      if (kind !== 'JOIN') this.#use(kind);
      if (kind === 'CROSS JOIN') {
        text += ` CROSS JOIN ${next}`;
        if (this.#random.chance(0.8)) where.push(this.#link(items, item));
        items.push(item);
        continue;
      }
      const previous = items.at(-1)!;
      if (kind === 'FULL JOIN') {
        const [left, right] = [this.#keyColumn(previous), this.#keyColumn(item)];
        either.push(`COALESCE(${this.#random.shuffled([left, right]).join(', ')})`);
        text += ` FULL JOIN ${next} ON ${this.#random.chance(0.7) ? `${left} = ${right}` : this.#link([previous], item)}`;
        items.push(item);
        continue;
      }
      const common = previous.columns.filter((name) => item.columns.includes(name));
      if (items.length === 1 && common.length > 0 && this.#random.chance(0.12)) {
        this.#use('USING');
        text += ` ${kind} ${next} USING (${common.slice(0, previous.table === 'o' ? 2 : 1).join(', ')})`;
      } else {
        const extra = this.#random.chance(0.15) ? ` AND ${this.#filter([item], 0)}` : '';
        text += ` ${kind} ${next} ON ${this.#link(items, item)}${extra}`;
      }
      items.push(item);
    }
    return { items, text, where, either };
  }

  select(depth: number, outer: readonly Item[], place: 'top' | 'from' | 'branch'): string {
    const { items, text, where, either } = this.#from(depth);
    const conditions = [...where];
    if (this.#random.chance(0.5)) conditions.push(this.#filter([...items, ...outer], depth));
    const root = this.#random.chance(0.75) ? items[0]! : this.#random.pick(items);
    const keys = this.keys.map((_, i) => {
      if (i === 0 && either.length > 0 && this.#random.chance(0.8)) return this.#random.pick(either);
      if (i === 1 && this.#random.chance(0.4)) return `(${this.#random.int(1, 2)})::int`;
      return this.#keyColumn(i === 0 || this.#random.chance(0.7) ? root : this.#random.pick(items), i);
    });
    if (items.some(({ table }) => table === null) || this.#random.chance(0.4)) {
      for (const key of keys) conditions.push(`${key} IS NOT NULL`);
    }
    const named = this.keys.map((name, i) => `${keys[i]!} AS ${name}`).join(', ');
    const from = (): string =>
      `FROM ${text}${conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`}`;
    const v = this.#column(items);
    const shapes = {
      plain: 6,
      grouped: 3,
      distinct: 1.2,
      distinctOn: 1.2,
      window: 2,
      limit: place === 'branch' ? 0 : place === 'from' ? 1 : 0.3,
      sets: 0.5,
    };
    switch (this.#random.weighted(shapes)) {
      case 'plain':
        return `SELECT ${named}, ${v} AS v, ${this.#document(items, depth)} AS d ${from()}`;
      case 'grouped': {
        this.#use('GROUP BY');
        const groups = this.#random.chance(0.3) ? [...keys, v] : keys;
        const value = groups.length > keys.length ? v : `min(${v})`;
        const having = this.#random.chance(0.15) ? ' HAVING count(*) > 1' : '';
        return `SELECT ${named}, ${value} AS v, ${this.#aggregate(items)}::text AS d ${from()} GROUP BY ${[...new Set(groups)].join(', ')}${having}`;
      }
      case 'distinct':
        this.#use('DISTINCT');
        return `SELECT DISTINCT ${named}, ${v} AS v, ${this.#document(items, 0)} AS d ${from()}`;
      case 'distinctOn': {
        this.#use('DISTINCT ON');
        const on = this.#random.pick([keys, keys, [...keys, v], [v]]);
        const shown = this.#column(items);
        const inner = `SELECT DISTINCT ON (${on.join(', ')}) ${named}, ${v} AS v, ${shown}::text AS d ${from()} ORDER BY ${[...on, ...keys, v, `${shown}::text`].join(', ')}`;
        return place === 'branch' ? `(${inner})` : inner;
      }
      case 'window': {
        this.#use('window');
        const parts = this.#random.pick([
          keys,
          [v],
          [this.#column(items)],
          [this.#column([root])],
          [...keys, v],
          [],
        ]);
        const partition = parts.length === 0 ? '' : `PARTITION BY ${parts.join(', ')} `;
        if (parts.length > 0 && this.#random.chance(0.6)) {
          for (const part of parts) conditions.push(`${part} IS NOT NULL`);
        }
        const call = this.#random.pick(['rank()', 'count(*)', `sum(${this.#column(items)})`, `max(${v})`]);
        const order = this.#random.chance(0.6) ? `ORDER BY ${this.#column(items)}` : '';
        const selected = `SELECT ${named}, ${v} AS v, (${call} OVER (${partition}${order}))::text AS d ${from()}`;
        if (!this.#random.chance(0.35)) return selected;
        this.#use('first of a window');
        const alias = this.#alias('r');
        return `SELECT ${this.keys.map((name) => `${alias}.${name}`).join(', ')}, ${alias}.v, ${alias}.d FROM (${selected}) ${alias} WHERE ${alias}.d = '1'`;
      }
      case 'limit': {
        this.#use('LIMIT');
        return `SELECT ${named}, ${v} AS v, 'x'::text AS d ${from()} ORDER BY ${[...keys, v].join(', ')} LIMIT ${this.#random.int(1, 3)}`;
      }
      case 'sets': {
        this.#use('GROUPING SETS');
        const sets = `${this.#random.pick(['ROLLUP', 'CUBE'])} (${v})`;
        const groups = this.#random.chance(0.6)
          ? `${[...new Set(keys)].join(', ')}, ${sets}`
          : `${this.#random.pick(['ROLLUP', 'CUBE'])} (${[...new Set([...keys, v])].join(', ')})`;
        const count = this.#random.chance(0.3)
          ? `sum(count(*)) OVER (PARTITION BY ${this.#random.pick([...keys, v])})`
          : 'count(*)';
        return `SELECT ${named}, ${v} AS v, (${count})::text AS d ${from()} GROUP BY ${groups}`;
      }
    }
  }

  #document(items: readonly Item[], depth: number): string {
    if (depth <= 0 || this.#random.chance(0.5))
      return `concat_ws('/', ${this.#column(items)}, ${this.#column(items)})`;
    this.#use('subquery');
    return `(${this.#correlated(items, depth - 1, (item) => this.#aggregate([item]))})::text`;
  }

  #aggregate(items: readonly Item[]): string {
    const column = this.#column(items);
    return this.#random.pick([
      'count(*)',
      `count(${column})`,
      `sum(${column})`,
      `array_agg(${column} ORDER BY ${column})`,
      `count(DISTINCT ${column})`,
      `max(${column})`,
    ]);
  }
}

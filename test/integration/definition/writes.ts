/** Random rows and statements over the tables of property.sql, small and full of collisions. */
import fc from 'fast-check';

const small = fc.integer({ min: 1, max: 4 });
const maybe = fc.option(small, { nil: null, freq: 4 });
const uuid = (value: number | null): string =>
  value === null ? 'NULL' : `'00000000-0000-0000-0000-00000000000${value}'`;
const text = (value: number | null): string => (value === null ? 'NULL' : `'${'abcd'[value - 1]}'`);
const plain = (value: number | null): string => String(value);
/** None, one or several, and one of them nothing. */
const list = (value: number | null): string =>
  value === null ? 'NULL' : `'${['{}', '{1}', '{2,3,2}', '{4,NULL,1}'][value - 1]}'`;
const truth = (value: number | null): string => (value === null ? 'NULL' : String(value > 1));

type Write = (value: number | null) => string;
const tables: Readonly<Record<string, Readonly<Record<string, Write>>>> = {
  g: { id: plain, name: text, tenant: plain, extra: plain },
  a: { id: plain, g_id: plain, name: text, flag: truth, extra: plain },
  l: { id: plain, name: text, kind: plain, extra: plain },
  b: { id: plain, a_id: plain, l_id: plain, x: plain, flag: truth },
  c: { id: plain, b_id: plain, x: plain, y: plain },
  n: { id: plain, parent_id: plain, name: text, extra: plain },
  o: { shop: plain, no: plain, note: text },
  it: { code: text, name: text },
  li: { shop: plain, no: plain, line: plain, item: text, qty: plain },
  w: { id: plain, ids: list, extra: plain },
  u: { id: uuid, name: text },
  m: { u1: uuid, u2: uuid, weight: plain },
};
export const names = Object.keys(tables);

const insert = fc
  .tuple(fc.constantFrom(...names), fc.array(maybe, { minLength: 5, maxLength: 5 }), small)
  .map(([table, values, first]) => {
    const columns = Object.entries(tables[table]!);
    const list = columns.map(([, write], place) => write(place === 0 ? first : (values[place] ?? null)));
    return `INSERT INTO ${table} VALUES (${list.join(', ')}) ON CONFLICT DO NOTHING`;
  });
const column = fc.constantFrom(
  ...names.flatMap((table) => Object.keys(tables[table]!).map((name) => ({ table, name }))),
);
const where = fc.tuple(fc.nat({ max: 9 }), small);
const condition = (table: string, [pick, value]: readonly [number, number]): string => {
  const columns = Object.entries(tables[table]!);
  const [name, write] = columns[pick % columns.length]!;
  return `${name} ${pick < 7 ? '=' : 'IS DISTINCT FROM'} ${write(value)}`;
};
const update = fc
  .tuple(column, maybe, where)
  .map(
    ([{ table, name }, value, which]) =>
      `UPDATE ${table} SET ${name} = ${tables[table]![name]!(value)} WHERE ${condition(table, which)}`,
  );
const remove = fc
  .tuple(fc.constantFrom(...names), where)
  .map(([table, which]) => `DELETE FROM ${table} WHERE ${condition(table, which)}`);
// Several tables in one statement: all modifications precede all triggers (CE5).
const writable = fc
  .tuple(fc.oneof(remove, update, insert), fc.oneof(remove, update, insert), fc.oneof(remove, update))
  .map(([one, two, three]) => `WITH x AS (${one} RETURNING 1), y AS (${two} RETURNING 1) ${three}`);
export const rows = fc.array(insert, { minLength: 30, maxLength: 90 });
export const changes = fc.array(fc.oneof(insert, update, update, remove, writable), {
  minLength: 1,
  maxLength: 6,
});

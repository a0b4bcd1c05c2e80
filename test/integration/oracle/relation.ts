/** What a definition can read: a table, a view over one, a tview. Its rows are rows of one table, by that table's key. */
import { type Schema, type Table, valueColumns } from './schema.ts';

export interface RelationLink {
  readonly columns: readonly string[];
  readonly target: string;
  readonly nullable: boolean;
}

export interface Relation {
  readonly name: string;
  /** The table whose rows these are, each at most once. */
  readonly rowsOf: string;
  /** Named as in that table. */
  readonly key: readonly string[];
  readonly links: readonly RelationLink[];
  readonly values: readonly string[];
  readonly numbers: readonly string[];
  /** Boolean columns that are never null. */
  readonly flags: readonly string[];
}

export const relationOf = (table: Table): Relation => ({
  name: table.name,
  rowsOf: table.name,
  key: table.key.map(({ name }) => name),
  links: table.links,
  values: [valueColumns.number, valueColumns.text],
  numbers: [valueColumns.number],
  flags: [valueColumns.flag],
});

/** Of a partitioned table, a partition can be read as well: it has some of its rows. */
export const relationsOf = (schema: Schema): Relation[] =>
  schema.tables.flatMap((table) => [
    relationOf(table),
    ...table.partitions.map((name) => ({ ...relationOf(table), name })),
  ]);

/** A way from the rows of one relation to those of another: to the one row they name, or to the many that name them. */
export interface Edge {
  readonly direction: 'down' | 'up';
  readonly to: Relation;
  /** Columns on this side and on the other, in pairs. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  readonly nullable: boolean;
}

export function edgesOf(relation: Relation, relations: readonly Relation[]): Edge[] {
  const down = relation.links.flatMap((link) =>
    relations
      .filter(({ rowsOf }) => rowsOf === link.target)
      .map(
        (to): Edge => ({ direction: 'down', to, near: link.columns, far: to.key, nullable: link.nullable }),
      ),
  );
  const up = relations.flatMap((to) =>
    to.links
      .filter(({ target }) => target === relation.rowsOf)
      .map((link): Edge => ({ direction: 'up', to, near: relation.key, far: link.columns, nullable: false })),
  );
  return [...down, ...up];
}

export const columnsList = (alias: string, columns: readonly string[]): string =>
  columns.map((column) => `${alias}.${column}`).join(', ');

export const edgeCondition = (edge: Edge, near: string, far: string): string =>
  edge.near.map((column, i) => `${far}.${edge.far[i]!} = ${near}.${column}`).join(' AND ');

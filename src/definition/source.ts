/** Which relations can be a source: those whose every change a statement trigger on them, or their own flush, reports. */
import type { CatalogRelation } from './catalog.ts';
import { display, refuse } from './refuse.ts';

const systemSchemas: ReadonlySet<string> = new Set([
  'pg_catalog',
  'information_schema',
  'pg_toast',
  'tviews',
]);

/** Kind, detail and hint by pg_class.relkind. */
const unfitKinds: Readonly<Record<string, readonly [string, string, string]>> = {
  p: [
    'partitioned table',
    'A statement that writes to a partition directly fires no trigger of the parent.',
    'Read one plain table; partitioned sources are planned.',
  ],
  f: ['foreign table', 'Its rows change on another server.', 'Copy them into a local table.'],
  m: [
    'materialized view',
    'REFRESH MATERIALIZED VIEW fires no triggers.',
    'Read the tables it is computed from, or make it a tview.',
  ],
};

/** Refuses a relation that cannot be a source. */
export function checkSource(relation: CatalogRelation, alias: string): void {
  const table = display(relation.name);
  const turnDown: (kind: string, detail: string, hint: string) => never = (kind, detail, hint) =>
    refuse(`${kind} ${table} (${alias}) is not supported in a tview`, detail, hint);
  if (systemSchemas.has(relation.name.schema)) {
    turnDown(
      'system catalog',
      'PostgreSQL allows no triggers on its catalogs, and ours describe the tviews themselves.',
      'Copy what you need into a table of your own.',
    );
  }
  const unfit = unfitKinds[relation.relkind];
  if (unfit !== undefined) turnDown(...unfit);
  else if (relation.relkind !== 'r') turnDown('relation', 'It is not a table.', 'Read tables and views.');
  if (relation.isTemporary) {
    turnDown(
      'temporary table',
      'It ends with its session, and others do not see it.',
      'Use an ordinary table.',
    );
  }
  if (relation.hasRowSecurity) {
    turnDown(
      'table with row level security',
      'What a definition reads from it would depend on the role that happens to write.',
      'Put the policy on the tview, or ALTER TABLE … DISABLE ROW LEVEL SECURITY.',
    );
  }
  if (relation.hasParent) {
    turnDown(
      'partition or inheriting table',
      'A statement that writes to it through its parent fires no trigger of this table.',
      'Read a plain table.',
    );
  }
  if (relation.hasChildren) {
    turnDown(
      'table with inheriting tables',
      'It is read together with its children, and a write to a child fires no trigger of this table.',
      'Read plain tables.',
    );
  }
}

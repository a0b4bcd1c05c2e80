/** Which relations can be a source: those whose every change a trigger on them or their family, or their own flush, reports. */
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
  f: ['foreign table', 'Its rows change on another server.', 'Copy them into a local table.'],
  m: [
    'materialized view',
    'REFRESH MATERIALIZED VIEW fires no triggers.',
    'Read the tables it is computed from, or make it a tview.',
  ],
};

/** Refuses a relation that cannot be a source. */
export function checkSource(relation: CatalogRelation, alias: string, isOnly: boolean): void {
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
  else if (!['r', 'p'].includes(relation.relkind))
    turnDown('relation', 'It is not a table.', 'Read tables and views.');
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
  const { form, hasChildren, unfit: member } = relation.family;
  if (form === 'child') {
    turnDown(
      'inheriting table',
      'A statement that writes to it through its parent fires no trigger of this table, and does not show its own columns.',
      'Read the parent, or make it a partition: partitions are supported.',
    );
  }
  if (relation.isTview && form !== 'table') {
    turnDown(
      'tview with partitions or heirs',
      'Its flush knows nothing of the rows of other tables.',
      'Take it out of their family.',
    );
  }
  if (hasChildren && isOnly) {
    refuse(
      `ONLY ${table} (${alias}) is not supported in a tview`,
      'An update of several members shows all their rows together, not which of them are its own.',
      'Read it with its members, or keep the rows in a table of their own.',
    );
  }
  if (member !== null) {
    refuse(
      `${form === 'parent' ? 'table' : 'partitioned table'} ${table} (${alias}) is not supported in a tview: ${member.name} is a ${member.kind} table`,
      member.kind === 'foreign'
        ? 'Its rows change on another server.'
        : 'Other sessions do not see its rows.',
      form === 'parent' ? `ALTER TABLE ${member.name} NO INHERIT ${table}.` : `Detach ${member.name}.`,
    );
  }
}

/**
 * Decides whether the functions of a view depend on the rows it reads and nothing else (R14; its types: types.ts). Read from the stored
 * parse tree, by oid: names in the text would have to be resolved with argument types, and pg_depend knows no built-ins.
 */
import type { SqlExecutor } from '../database/executor.ts';
import type { CatalogView } from './catalog.ts';
import { noteFloatAggregate } from './lint.ts';
import type { Advice } from './plan.ts';
import { refuse } from './refuse.ts';

interface FunctionRow {
  readonly signature: string;
  readonly name: string;
  readonly schema: string;
  readonly kind: 'function' | 'operator';
  readonly arguments: number;
  readonly volatility: 'i' | 's' | 'v';
}

const functionsQuery = `
  SELECT proc.oid::pg_catalog.regprocedure::text AS signature,
         proc.proname AS name,
         namespace.nspname AS schema,
         'function' AS kind,
         proc.pronargs::int AS arguments,
         proc.provolatile::text AS volatility
  FROM pg_catalog.pg_proc AS proc
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = proc.pronamespace
  WHERE proc.oid = ANY ($1::oid[])
  UNION ALL
  SELECT operator.oid::pg_catalog.regoperator::text,
         proc.proname,
         CASE WHEN namespace.nspname = 'pg_catalog' THEN place.nspname ELSE namespace.nspname END,
         'operator',
         proc.pronargs::int,
         proc.provolatile::text
  FROM pg_catalog.pg_operator AS operator
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = operator.oprnamespace
  JOIN pg_catalog.pg_proc AS proc ON proc.oid = operator.oprcode
  JOIN pg_catalog.pg_namespace AS place ON place.oid = proc.pronamespace
  WHERE operator.oid = ANY ($2::oid[])
  ORDER BY 1`;

/**
 * STABLE functions of PostgreSQL whose only dependence on the session is on settings the refresh pins: TimeZone, DateStyle,
 * IntervalStyle, extra_float_digits, bytea_output. Everything else that is STABLE reads the catalog, the clock or the session.
 */
const pinnedStable: ReadonlySet<string> = new Set(
  `any_value array_to_json array_to_string anytextcat textanycat concat concat_ws format quote_literal quote_nullable
   json_agg json_agg_strict json_build_array json_build_object json_object_agg json_object_agg_strict
   json_object_agg_unique json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_build_array jsonb_build_object
   jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict
   jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_path_query_tz
   row_to_json to_json to_jsonb to_char to_date to_number to_timestamp
   date date_add date_bin date_part date_subtract date_trunc extract generate_series make_timestamptz overlaps
   time timestamp timestamptz timetz timezone
   date_cmp_timestamptz date_eq_timestamptz date_ge_timestamptz date_gt_timestamptz date_le_timestamptz
   date_lt_timestamptz date_ne_timestamptz interval_pl_timestamptz timestamp_cmp_timestamptz timestamp_eq_timestamptz
   timestamp_ge_timestamptz timestamp_gt_timestamptz timestamp_le_timestamptz timestamp_lt_timestamptz
   timestamp_ne_timestamptz timestamptz_cmp_date timestamptz_cmp_timestamp timestamptz_eq_date timestamptz_eq_timestamp
   timestamptz_ge_date timestamptz_ge_timestamp timestamptz_gt_date timestamptz_gt_timestamp timestamptz_le_date
   timestamptz_le_timestamp timestamptz_lt_date timestamptz_lt_timestamp timestamptz_mi_interval timestamptz_ne_date
   timestamptz_ne_timestamp timestamptz_pl_interval convert convert_from convert_to enum_first enum_last enum_range
   length money numeric`.split(/\s+/),
);

/** The clock, however it is spelled: worth a hint of its own. */
const clockFunctions: ReadonlySet<string> = new Set(
  'now transaction_timestamp statement_timestamp clock_timestamp timeofday age'.split(' '),
);

/** Oids the tree names under the given fields. The dump escapes blanks in names, so that a name cannot look like a field. */
function oids(tree: string, fields: string): number[] {
  const found = new Set<number>();
  for (const [, oid] of tree.matchAll(new RegExp(` :(?:${fields}) (\\d+)`, 'g'))) found.add(Number(oid));
  for (const [, list] of fields.includes('opno') ? tree.matchAll(/ :opnos \(o ([\d ]+)\)/g) : []) {
    for (const oid of list!.split(' ')) found.add(Number(oid));
  }
  found.delete(0);
  return [...found];
}

/** Refuses a definition that computes anything from other than its rows; advises on what their order decides. `where` names the view. */
export async function refuseNondeterminism(
  executor: SqlExecutor,
  view: CatalogView,
  where: string,
): Promise<readonly Advice[]> {
  const functions = await executor.query<FunctionRow>(functionsQuery, [
    oids(view.tree, 'funcid|aggfnoid|winfnoid'),
    oids(view.tree, 'opno|eqop|sortop'),
  ]);
  for (const found of functions) refuseFunction(found, where);
  return functions.flatMap(({ signature }) => noteFloatAggregate(signature, where));
}

function refuseFunction(found: FunctionRow, where: string): void {
  const { kind, signature, schema, name, volatility } = found;
  if (schema !== 'pg_catalog') {
    refuse(
      `${kind} ${signature} in ${where} is not one of PostgreSQL's own`,
      'A function may read tables that no trigger watches, whatever it is declared as; its rows could go stale unseen.',
      'Write what it computes into the definition itself, or store its result in a column.',
    );
  }
  // The zone's summer time is that of today.
  const isLocalTime = signature === 'timezone(text,time with time zone)';
  if (volatility === 'i' && !isLocalTime) return;
  if (isLocalTime || (clockFunctions.has(name) && (name !== 'age' || found.arguments < 2))) {
    refuse(
      `${kind} ${signature} in ${where} depends on the clock`,
      'Its value changes without any change of a table, so that stored rows would go stale.',
      'Store the moment in a column, or compare with the clock in the query that reads the tview.',
    );
  }
  if (volatility === 'v') {
    refuse(
      `${kind} ${signature} in ${where} is volatile`,
      'Two evaluations over the same rows may differ, so that the tview cannot be compared with its definition.',
      'Store its result in a column of the source table.',
    );
  }
  if (pinnedStable.has(name) || name === 'age') return;
  refuse(
    `${kind} ${signature} in ${where} depends on the session or the catalog`,
    'PostgreSQL declares it STABLE, and what it depends on is not among the settings a refresh pins.',
    name.includes('ts')
      ? "Name the text search configuration: to_tsvector('english', …)."
      : 'Store its result in a column.',
  );
}

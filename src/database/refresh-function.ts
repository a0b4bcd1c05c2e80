/**
 * Generates the refresh function of one tview: changes in, rows of tv_x written, images of what changed out. Its steps —
 * locks on values, keys, locks on keys, recompute, write — are statements of their own, so that under READ COMMITTED each
 * sees a snapshot taken after the locks before it (locks.ts). The tview's gate is passed before, in flush.
 *
 * `changes` is an object by source id: an array of images, or true for "everything may have changed". Under `t<tview id>`
 * stand keys of the tview itself, or true: how a repair goes the way of every write, with its locks and dependents. `kept`
 * has as names the ids of the sources of which every changed row was there before and kept its links. `alone`: the gate is
 * held exclusively, and nothing is locked beside it. Asked by `tells_keys`, `looked_at` says which rows were computed: an
 * array of keys, or true. A number it has no reason to set is null.
 */
import {
  type Column,
  changesEverything,
  type Occurrence,
  type QualifiedName,
  type RefreshPlan,
  type Source,
} from '../definition/plan.ts';
import { maximumImages, rowOf } from './capture.ts';
import { quoteIdentifier, quoteLiteral, quoteQualified } from './identifier.ts';
import { firstImageValue, imageExpression, imageRelation, imagesRelation } from './image.ts';
import {
  edgeLocks,
  elementType,
  keyLocks,
  type LockOptions,
  locksValues,
  lockVariables,
  oneKeyLock,
} from './locks.ts';
import { appendFound, dollarQuote, hang, objectName } from './text.ts';

export interface RefreshedTview {
  readonly id: number;
  readonly plan: RefreshPlan;
  /** Ids of the sources, in the order of `plan.sources`. */
  readonly sourceIds: readonly number[];
  /** The equality operator of each key column's type, as it is written between two operands. */
  readonly keyEquality: readonly string[];
  /** What other tviews read of this one; null where none does. */
  readonly asSource: {
    readonly linkColumns: readonly Column[];
    readonly referencedColumns: readonly string[];
  } | null;
}

export interface RefreshOptions extends LockOptions {
  /** Above this share of the table's rows, a diff of the whole view is cheaper than one key after the other. */
  readonly fullRefreshShare: number;
}

/** Up to so many keys nobody asks how large the table is. */
export const keysWithoutAsking = 1000;

export const refreshFunctionName = (name: string, id: number): string => objectName('refresh', name, id);

export function refreshFunction(tview: RefreshedTview, options: RefreshOptions): string {
  const { plan } = tview;
  const edges = edgeLocks(tview, options);
  const body = `#variable_conflict use_column
<<refresh>>
DECLARE
  everything boolean;
  single boolean;
  many boolean;
${plan.key.map(({ type }, i) => `  key_${i + 1} ${elementType(type)}[];`).join('\n')}
${lockVariables(tview, options)}${
  locksValues(plan, options) ? '  far_count integer;\n  near_count integer;\n  done boolean;\n' : ''
}  -- Not a variable for each column: one of a domain that is NOT NULL could not be declared, one of a row not be written.
  new_row record;${
    tview.asSource === null
      ? ''
      : `
  old_image jsonb;
  matters boolean;
  differs boolean;
  -- With the block's name, where a column could have the parameter's.
  by_snapshot boolean := tells_keys;`
  }
  unlinked boolean;
  computed bigint;
  duplicate text;
BEGIN
  -- Who computes everything is alone.
  IF alone THEN
    everything := ${everythingCheck(tview, 'changes')};
${edges === '' ? '' : `  ELSE\n    ${hang(edges, 4)}\n`}  END IF;
  IF everything IS NOT TRUE THEN
    -- Keys: from the images alone or along the path to the root, links only (keys-and-locks.md, Theorem 2).
    ${hang(keySteps(tview), 4)}
    IF ${keyVariable(0)} IS NULL THEN
      RETURN;
    END IF;
    ${hang(distinctKeys(tview, options), 4)}
    ${hang(nullKeyCheck(tview), 4)}
    IF tells_keys THEN
      ${hang(tellKeys(tview), 6)}
    END IF;
  END IF;

  -- Recompute and write. Nobody else writes these rows now, so nothing here waits with what it has computed in hand.
  IF single THEN
    ${hang(writeOne(tview), 4)}
    keys := 1;
  ELSE
    IF everything THEN
      looked_at := 'true';
      ${hang(write(tview, 'all'), 6)}
      keys := computed + deleted;
    ELSE
      IF many THEN
        ${hang(write(tview, 'many'), 8)}
      ELSE
        ${hang(write(tview, 'keys'), 8)}
      END IF;
      keys := cardinality(${keyVariable(0)});
    END IF;
    IF duplicate IS NOT NULL THEN
      ${hang(raiseDuplicate(tview, 'duplicate'), 6)}
    END IF;
  END IF;
END`;
  return `CREATE OR REPLACE FUNCTION tviews.${quoteIdentifier(refreshFunctionName(plan.table.name, tview.id))}(
  changes jsonb, kept jsonb, alone boolean, tells_keys boolean,
  OUT keys bigint, OUT written bigint, OUT deleted bigint, OUT images jsonb, OUT looked_at jsonb
)
-- Its settings are those of flush, which alone calls it: each SET clause here would cost time for every tview of a flush.
LANGUAGE plpgsql SECURITY DEFINER
AS ${dollarQuote(body)};`;
}

/** Of several keys: from how many on all rows are computed at once. */
function decideMany({ plan }: RefreshedTview, options: RefreshOptions): string {
  const keys = `cardinality(${keyVariable(0)})`;
  if (plan.isComputedWhole === true) return 'many := true;';
  return `IF ${keys} > ${keysWithoutAsking} THEN
  SELECT ${keys} > c.reltuples * ${options.fullRefreshShare} INTO many
  FROM pg_class AS c WHERE c.oid = ${quoteLiteral(quoteQualified(plan.table))}::regclass AND c.reltuples >= 0;
END IF;`;
}

/** The name in `changes` under which a tview is told at which of its own rows to look: `{"tview": 3, "all": true}`. */
export const rowsOf = (tview: number): string => `t${tview}`;

/** A name as messages show it. */
export const people = ({ schema, name }: QualifiedName): string => `"${schema}.${name}"`;

/** Columns k1, k2, … and variables named with the block's label: the tview's own columns could be called anything. */
const keyAliases = (tview: RefreshedTview): string => tview.plan.key.map((_, i) => `k${i + 1}`).join(', ');
const keyVariables = (tview: RefreshedTview): string =>
  tview.plan.key.map((_, i) => keyVariable(i)).join(', ');
const keyVariable = (i: number): string => `refresh.key_${i + 1}`;
const unnestedKeys = (tview: RefreshedTview): string =>
  `unnest(${keyVariables(tview)}) AS k (${keyAliases(tview)})`;

/**
 * A FROM clause that computes the rows of some keys, one key after the other: an equality reaches into the groups and
 * subqueries of the view and finds their indexes, where = ANY does not. OFFSET 0, or the planner would make a join of it,
 * and compute a view with GROUP BY whole for two keys. A key without a row has a row of nulls, and `v."tviews there"` null: to
 * look for those keys afterwards, the planner would compare each with every row (it takes the computed rows for few).
 * @param keys the keys as a relation `k` with columns k1, k2, …
 */
export const rowsByKey = (tview: Pick<RefreshedTview, 'plan' | 'keyEquality'>, keys: string): string =>
  `FROM ${keys}
  LEFT JOIN LATERAL (SELECT *, true AS ${there} FROM ${quoteQualified(tview.plan.view)} AS w WHERE ${keysEqual(tview, 'w', toKey)} OFFSET 0) AS v ON true`;

/** A column beside the definition's own: null in the row of a key that has none. */
export const there = '"tviews there"';

/** `v."a" = k.k1 AND v."b" = k.k2`, by the operator of the type's own index: citext keys compare as citext does. */
export function keysEqual(
  tview: Pick<RefreshedTview, 'plan' | 'keyEquality'>,
  left: string,
  right: (column: Column, index: number) => string,
): string {
  return tview.plan.key
    .map(
      (column, i) => `${left}.${quoteIdentifier(column.name)} ${tview.keyEquality[i]!} ${right(column, i)}`,
    )
    .join(' AND ');
}
const toKey = (_: Column, i: number): string => `k.k${i + 1}`;
/** The keys beside computed rows, which a definition's columns must not be mistaken for. */
const soughtKey = (i: number): string => `"tviews key ${i + 1}"`;
const toSought = (_: Column, i: number): string => `c.${soughtKey(i)}`;
export const toColumn =
  (alias: string) =>
  ({ name }: Column): string =>
    `${alias}.${quoteIdentifier(name)}`;

/**
 * A condition on changes by source: whether every row of the tview may have changed. The same where the gate is passed and
 * where rows are computed: who computes all of them must be alone.
 */
export function everythingCheck(
  { id, plan, sourceIds }: Pick<RefreshedTview, 'id' | 'plan' | 'sourceIds'>,
  changes: string,
): string {
  const whole = sourceIds.filter((_, i) => changesEverything(plan.sources[i]!)).map(String);
  const others = [...sourceIds.map(String).filter((source) => !whole.includes(source)), rowsOf(id)];
  const all = `'true'::jsonb IN (${others.map((name) => `${changes}->${quoteLiteral(name)}`).join(', ')}) IS TRUE`;
  return whole.length === 0 ? all : `${changes} ?| array[${whole.map(quoteLiteral).join(', ')}] OR ${all}`;
}

function keySteps(tview: RefreshedTview): string {
  const rows = quoteLiteral(rowsOf(tview.id));
  const own = `IF changes ? ${rows} THEN
  ${hang(
    appendKeys(
      tview,
      `SELECT ${tview.plan.key.map(({ name }) => `i.${quoteIdentifier(name)}`).join(', ')}
FROM (
  ${hang(imagesRelation(`changes->${rows}`, tview.plan.key), 2)}
) AS i
WHERE ${tview.plan.key.map(({ name }) => `i.${quoteIdentifier(name)} IS NOT NULL`).join(' AND ')}`,
    ),
    2,
  )}
END IF;`;
  const sources = tview.plan.sources
    .flatMap((source, i) => {
      // Its changes never come here.
      if (changesEverything(source)) return [];
      const id = quoteLiteral(String(tview.sourceIds[i]!));
      // Occurrences of one table often have one key query: a table read by three subqueries of the same correlation.
      const queries = new Map<string, Occurrence[]>();
      for (const occurrence of source.occurrences) {
        const query = occurrence.keyQuery!.trim();
        queries.set(query, [...(queries.get(query) ?? []), occurrence]);
      }
      const steps = [...queries.values()].map((occurrences) => {
        const paths = new Set(occurrences.map(({ path }) => `-- ${path.replaceAll(/\s+/g, ' ')}`));
        return [...paths, keyStep(tview, source, `changes->${id}`, occurrences[0]!)].join('\n');
      });
      return `IF changes ? ${id} THEN
  ${hang(steps.join('\n'), 2)}
END IF;`;
    })
    .join('\n');
  return [sources, own].filter((part) => part !== '').join('\n');
}

/** Adds what a query finds, one column per key column, to the keys. */
function appendKeys(tview: RefreshedTview, query: string, before = ''): string {
  const variables = tview.plan.key.map((_, i) => keyVariable(i));
  const columns = tview.plan.key.map((_, i) => `k${i + 1}`);
  return `${before}${appendFound(variables, query, 'found', columns)};`;
}

/** As a change of the tview's own rows has them. */
function tellKeys(tview: RefreshedTview): string {
  const named = tview.plan.key.map(({ name }, i) => `k.k${i + 1} AS ${quoteIdentifier(name)}`);
  return `SELECT jsonb_agg(DISTINCT ${imageExpression('i', tview.plan.key)}) INTO looked_at
FROM (SELECT ${named.join(', ')} FROM ${unnestedKeys(tview)}) AS i;`;
}

/**
 * Up to so many images are looked up one by one: of a set the planner assumes a hundred, and then reads a table of some ten
 * thousand rows from end to end, for a row that was moved too (its old image and its new one).
 */
const imagesOneByOne = 16;

/** One image is the common case. Where it holds the key itself, no query is needed. */
function keyStep(tview: RefreshedTview, source: Source, images: string, occurrence: Occurrence): string {
  const withChanged = (relation: string): string =>
    appendKeys(tview, occurrence.keyQuery!, `WITH changed AS (\n  ${hang(relation, 2)}\n)\n`);
  const query = withChanged(imagesRelation(images, source.linkColumns));
  const { keyColumns } = occurrence;
  if (!keyColumns) {
    return `IF jsonb_array_length(${images}) <= ${imagesOneByOne} THEN
  FOR place IN 0 .. jsonb_array_length(${images}) - 1 LOOP
    ${hang(withChanged(imageRelation(`${images}->place`, source.linkColumns)), 4)}
  END LOOP;
ELSE
  ${hang(query, 2)}
END IF;`;
  }
  const values = keyColumns.map((name) => firstImageValue(images, source.linkColumns, name));
  const linked = values.map((value) => `${value} IS NOT NULL`).join(' AND ');
  const append = tview.plan.key.map(
    (column, k) =>
      `${keyVariable(k)} := CASE WHEN ${linked} THEN array_append(${keyVariable(k)}, ${values[k]!}::${elementType(column.type)}) ELSE ${keyVariable(k)} END;`,
  );
  return `IF jsonb_array_length(${images}) = 1 THEN
  ${append.join('\n  ')}
ELSE
  ${hang(query, 2)}
END IF;`;
}

/**
 * Sets `single`: whether there is one key. Most changes give one, some by several ways: asking whether all are the same takes
 * no query, and they are left as they are.
 */
function distinctKeys(tview: RefreshedTview, options: RefreshOptions): string {
  // In the column's own collation: under one that knows no case 'a' and 'A' are one key, and its row one row.
  const columns = tview.plan.key.map(
    ({ collation }, i) => `k.k${i + 1}${collation === null ? '' : ` COLLATE ${collation} AS k${i + 1}`}`,
  );
  const isNull = tview.plan.key.map((_, i) => `d.k${i + 1} IS NULL`).join(' OR ');
  const oneKey = tview.plan.key
    .map(
      (_, i) => `${keyVariable(i)} = array_fill(${keyVariable(i)}[1], array[cardinality(${keyVariable(0)})])`,
    )
    .join(' AND ');
  const variables = tview.plan.key.map((_, i) => keyVariable(i));
  const lockOne = oneKeyLock(
    tview,
    variables.map((name) => `${name}[1]`),
    options,
  );
  const several = [
    `SELECT ${tview.plan.key.map((_, i) => `array_agg(d.k${i + 1})`).join(', ')}, bool_or(${isNull})
INTO ${keyVariables(tview)}, unlinked
FROM (SELECT DISTINCT ${columns.join(', ')} FROM ${unnestedKeys(tview)}) AS d;`,
    keyLocks(tview, variables, options),
    decideMany(tview, options),
  ].filter((part) => part !== '');
  const decide = lockOne === '' ? 'IF NOT single THEN' : `IF single THEN\n  ${lockOne}\nELSE`;
  return `single := cardinality(${keyVariable(0)}) = 1 OR ${oneKey};
${decide}
  ${hang(several.join('\n'), 2)}
END IF;`;
}

/** A null key mostly belongs to a row that is linked to nothing. A row of the definition with one is another matter. */
function nullKeyCheck(tview: RefreshedTview): string {
  const isNull = tview.plan.key.map(({ name }) => `v.${quoteIdentifier(name)} IS NULL`).join(' OR ');
  const first = tview.plan.key.map((_, i) => `${keyVariable(i)}[1] IS NULL`).join(' OR ');
  return `IF unlinked OR (single AND (${first})) THEN
  IF EXISTS (SELECT FROM ${quoteQualified(tview.plan.view)} AS v WHERE ${isNull}) THEN
    ${hang(raiseNullKey(tview), 4)}
  END IF;
END IF;`;
}

const raiseNullKey = (tview: RefreshedTview): string => `RAISE not_null_violation USING
  MESSAGE = ${quoteLiteral(`definition of tview ${people(tview.plan.table)} gives a row whose key is null`)},
  HINT = 'Leave such rows out in the definition.';`;

/** Are equal values of this column the same bytes? A collation of its own may be one that knows no case. */
const hasOneForm = ({ type, collation }: Column): boolean =>
  collation === null &&
  /^(smallint|integer|bigint|oid|boolean|uuid|date|text|character varying|timestamp)\b/.test(type);

/**
 * One key, the common case: statements with plain parameters in place of joins with an array. Takes a third of the time
 * (bench/README.md, breakdown).
 */
function writeOne(tview: RefreshedTview): string {
  const { plan, asSource } = tview;
  const table = quoteQualified(plan.table);
  const toOne = (_: Column, i: number): string => `${keyVariable(i)}[1]`;
  const ofOne = keysEqual(tview, 't', toOne);
  const names = plan.columns.map(({ name }) => name);
  const newValue = (name: string): string => `refresh.new_row.${quoteIdentifier(name)}`;
  const differ = (columns: readonly string[]): string =>
    `${rowOf('t', columns)} *<> ROW(${columns.map(newValue).join(', ')})::record`;
  const fixed = new Set(plan.key.filter(hasOneForm).map(({ name }) => name));
  const assignments = names.flatMap((name) =>
    fixed.has(name) ? [] : [`${quoteIdentifier(name)} = ${newValue(name)}`],
  );
  const update = (condition: string): string => `UPDATE ${table} AS t SET ${assignments.join(', ')}
WHERE ${condition};
GET DIAGNOSTICS written = ROW_COUNT;`;
  const insert = `INSERT INTO ${table} (${names.map(quoteIdentifier).join(', ')}) VALUES (${names.map(newValue).join(', ')})
ON CONFLICT (${plan.key.map(({ name }) => quoteIdentifier(name)).join(', ')}) DO NOTHING;
GET DIAGNOSTICS written = ROW_COUNT;`;

  // A small table is read from end to end, and the planner would have the documents of all its rows compared before their keys.
  const updateDifferent =
    assignments.length === 0
      ? ''
      : `${update(`${ofOne} AND CASE WHEN ${ofOne} THEN ${differ(names)} END`)}\n`;
  const store =
    asSource === null
      ? `${updateDifferent}IF written IS DISTINCT FROM 1 THEN
  ${hang(insert, 2)}
END IF;`
      : `SELECT ${imageExpression('t', asSource.linkColumns)}, ${differ(asSource.referencedColumns)}, ${differ(names)}
INTO old_image, matters, differs
FROM ${table} AS t WHERE ${ofOne};
${assignments.length === 0 ? '' : `IF differs THEN\n  ${hang(update(ofOne), 2)}\nEND IF;\n`}IF written IS DISTINCT FROM 1 AND differs IS NOT FALSE THEN
  ${hang(insert, 2)}
END IF;
-- To a snapshot that is kept (tells_keys) a row may be there that others have deleted since, and theirs above it: what seems a
-- change of no matter to those brings the row back. So there it always matters.
IF written > 0 AND (matters IS NOT FALSE OR refresh.by_snapshot) THEN
  SELECT CASE WHEN old_image IS NULL OR old_image = i.image THEN jsonb_build_array(i.image) ELSE jsonb_build_array(i.image, old_image) END
  INTO images
  FROM (SELECT ${imageExpression('refresh.new_row', asSource.linkColumns)} AS image) AS i;
END IF;`;
  const returning =
    asSource === null
      ? ''
      : `\nRETURNING jsonb_build_array(${imageExpression('t', asSource.linkColumns)}) INTO images`;

  return `SELECT ${names.map((name) => `v.${quoteIdentifier(name)}`).join(', ')}, count(*) OVER () AS "tviews computed"
INTO new_row
FROM ${quoteQualified(plan.view)} AS v WHERE ${keysEqual(tview, 'v', toOne)};
IF new_row."tviews computed" = 1 THEN
  ${hang(store, 2)}
ELSIF new_row."tviews computed" IS NULL THEN
  DELETE FROM ${table} AS t WHERE ${ofOne}${hang(returning, 2)};
  GET DIAGNOSTICS deleted = ROW_COUNT;
ELSE
  ${hang(raiseDuplicate(tview, duplicateMessage(tview, plan.key.map(toOne), 'new_row."tviews computed"')), 2)}
END IF;`;
}

const raiseDuplicate = (
  { plan }: RefreshedTview,
  detail: string,
): string => `RAISE cardinality_violation USING
  MESSAGE = ${quoteLiteral(`definition of tview ${people(plan.table)} gives more than one row for a key`)},
  DETAIL = ${detail},
  HINT = 'Group the rows of the definition by its key, or make the key of the tview longer.';`;

function duplicateMessage(tview: RefreshedTview, values: readonly string[], count: string): string {
  const { key } = tview.plan;
  const format = `Key (${key.map(({ name }) => name.replaceAll('%', '%%')).join(', ')})=(${key.map(() => '%s').join(', ')}) comes %s times.`;
  return `format(${quoteLiteral(format)}, ${values.join(', ')}, ${count})`;
}

/** `many`: of those keys too, but found among all rows of the definition, computed at once. */
function write(tview: RefreshedTview, scope: 'keys' | 'many' | 'all'): string {
  const { plan, asSource } = tview;
  const view = quoteQualified(plan.view);
  const table = quoteQualified(plan.table);
  const all = plan.columns.map(({ name }) => name);
  // A key column only where equal values can be different ones: 1.0 and 1.00, or 'a' and 'A' as citext. An update that names
  // a key takes a lock that foreign keys wait for.
  const fixed = new Set(plan.key.filter(hasOneForm).map(({ name }) => name));
  const rest = all.filter((name) => !fixed.has(name)).map(quoteIdentifier);
  const keys = plan.key.map(({ name }) => quoteIdentifier(name));
  const list = (alias: string) => all.map((name) => `${alias}.${quoteIdentifier(name)}`).join(', ');
  const firstKey = quoteIdentifier(plan.key[0]!.name);

  const source = {
    all: `FROM ${view} AS v`,
    many: `FROM ${unnestedKeys(tview)}
  LEFT JOIN all_rows AS v ON ${keysEqual(tview, 'v', toKey)}`,
    keys: rowsByKey(tview, unnestedKeys(tview)),
  }[scope];
  const before =
    scope === 'many'
      ? `all_rows AS MATERIALIZED (
  SELECT ${list('v')}, true AS ${there} FROM ${view} AS v
), `
      : '';
  const doomed =
    scope === 'all'
      ? `DELETE FROM ${table} AS t
  WHERE NOT EXISTS (SELECT FROM computed_rows AS c WHERE ${keysEqual(tview, 'c', toColumn('t'))})`
      : `DELETE FROM ${table} AS t
  USING computed_rows AS c
  WHERE c.${there} IS NULL AND ${keysEqual(tview, 't', toSought)}`;
  const isThere = scope === 'all' ? '' : `\n  WHERE c.${there}`;
  const differs = `(t.${firstKey} IS NULL OR ${rowOf('c', all)} *<> ${rowOf('t', all)})
    AND NOT EXISTS (SELECT FROM duplicate_keys)`;
  const sought =
    scope === 'all'
      ? ''
      : `, v.${there}, ${plan.key.map((_, i) => `k.k${i + 1} AS ${soughtKey(i)}`).join(', ')}`;

  const old =
    asSource === null
      ? ''
      : `,
    CASE WHEN t.${firstKey} IS NOT NULL THEN ${imageExpression('t', asSource.linkColumns)} END AS "tviews old image",
    refresh.by_snapshot OR t.${firstKey} IS NULL OR ${rowOf('c', asSource.referencedColumns)} *<> ${rowOf('t', asSource.referencedColumns)} AS "tviews matters"`;
  const returning = asSource === null ? 'true' : `${imageExpression('t', asSource.linkColumns)} AS image`;
  // A key that no source is known to have may be null, which only the rows tell.
  const mayBeNull = scope === 'all' && plan.sources.some(changesEverything);
  const isNull = keys.map((key) => `c.${key} IS NULL`).join(' OR ');
  const imagesOut =
    asSource === null
      ? 'NULL'
      : `(
    SELECT CASE WHEN count(*) > ${maximumImages} THEN 'true' ELSE jsonb_agg(DISTINCT i.image) END
    FROM (
      SELECT ${imageExpression('d', asSource.linkColumns)} AS image FROM different_rows AS d WHERE d."tviews matters"
      UNION ALL
      SELECT d."tviews old image" FROM different_rows AS d WHERE d."tviews matters" AND d."tviews old image" IS NOT NULL
      UNION ALL
      SELECT d.image FROM deleted_rows AS d
    ) AS i
  )`;

  return `WITH ${before}computed_rows AS MATERIALIZED (
  SELECT ${list('v')}${sought}
  ${source}
), duplicate_keys AS (
  SELECT ${duplicateMessage(
    tview,
    keys.map((key) => `c.${key}`),
    'count(*)',
  )} AS message
  FROM computed_rows AS c${isThere}
  GROUP BY ${keys.map((key) => `c.${key}`).join(', ')}
  HAVING count(*) > 1
  LIMIT 1
), different_rows AS MATERIALIZED (
  SELECT ${list('c')}${old}
  FROM computed_rows AS c
  LEFT JOIN ${table} AS t ON ${keysEqual(tview, 't', toColumn('c'))}
  WHERE ${scope === 'all' ? differs : `c.${there} AND ${differs}`}${
    mayBeNull
      ? `
    AND NOT EXISTS (SELECT FROM computed_rows AS c WHERE ${isNull})`
      : ''
  }
), written_rows AS (
  INSERT INTO ${table} (${all.map(quoteIdentifier).join(', ')})
  SELECT ${list('d')} FROM different_rows AS d
  ON CONFLICT (${keys.join(', ')}) DO ${rest.length === 0 ? 'NOTHING' : `UPDATE SET ${rest.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}`}
  RETURNING true
), deleted_rows AS (
  ${doomed}
  RETURNING ${returning}
)
SELECT
  (SELECT count(*) FROM computed_rows${scope === 'all' ? '' : ` WHERE ${there}`}),
  (SELECT message FROM duplicate_keys),
  (SELECT count(*) FROM written_rows),
  (SELECT count(*) FROM deleted_rows),
  ${imagesOut}${
    mayBeNull
      ? `,
  EXISTS (SELECT FROM computed_rows AS c WHERE ${isNull})`
      : ''
  }
INTO computed, duplicate, written, deleted, images${mayBeNull ? ', unlinked' : ''};${
    mayBeNull ? `\nIF unlinked THEN\n  ${hang(raiseNullKey(tview), 2)}\nEND IF;` : ''
  }`;
}

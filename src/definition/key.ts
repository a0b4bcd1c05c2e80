/** Chooses the columns that identify a row of the tview, and finds the columns of the sources that they are. */
import { RefusedDefinition } from '../errors/errors.ts';
import type { Catalog, CatalogColumn } from './catalog.ts';
import { isSameOrigin } from './columns.ts';
import { decidedBy } from './decided.ts';
import { type Piece, shownExpression } from './expression.ts';
import { isKept } from './kinds.ts';
import { refusal, refuse } from './refuse.ts';
import { columnKey, type NamedOrigin, type Origin, originKey, type ResolvedDefinition } from './resolved.ts';

/** What a part of a key is computed by. */
export interface Computed {
  readonly pieces: readonly Piece[];
  /** The version from which on an index can be by it (expression.ts). */
  readonly immutableSince: number;
}

/** One key column: as the tview has it, and the source column it is, or what is computed from a row, or the constant. */
export type KeyColumn = { readonly output: CatalogColumn } & (
  | { readonly kind: 'column'; readonly occurrence: number; readonly column: string }
  | ({ readonly kind: 'expression'; readonly occurrence: number } & Computed)
  | { readonly kind: 'constant'; readonly sql: string }
);

export interface ChosenKey {
  /** Empty: there is none. */
  readonly outputs: readonly CatalogColumn[];
  /** For each reading; or why no source has it there: then nothing bounds what a change reaches. */
  readonly readings: readonly ReadingKey[];
}

export type ReadingKey = readonly KeyColumn[] | RefusedDefinition;

const sayWhich = "Name the columns that identify a row: CREATE TVIEW … WITH (key = 'column, …') AS ….";

export function chooseKey(
  definition: ResolvedDefinition,
  catalog: Catalog,
  wanted: readonly string[] | null,
  entity: string,
): ChosenKey {
  const names = wanted ?? conventionalKey(definition, entity);
  if (names instanceof RefusedDefinition) {
    return { outputs: [], readings: definition.readings.map(() => names) };
  }
  const outputs = names.map((name) => {
    const output = catalog.root.columns.find((column) => column.name === name);
    if (output !== undefined) return checkedOutput(output);
    return refuse(
      `key column "${name}" is not among the columns of the definition`,
      `The definition has the columns ${catalog.root.columns.map((column) => column.name).join(', ')}.`,
      sayWhich,
    );
  });
  return {
    outputs,
    readings: definition.readings.map((reading) => readingKey(definition, reading, outputs)),
  };
}

function readingKey(
  definition: ResolvedDefinition,
  { outputs: origins }: ResolvedDefinition['readings'][number],
  outputs: readonly CatalogColumn[],
): ReadingKey {
  const columns: KeyColumn[] = [];
  for (const output of outputs) {
    const found = keyColumn(definition, origins.find(({ name }) => name === output.name)!, output);
    if (found instanceof RefusedDefinition) return found;
    columns.push(found);
  }
  return columns;
}

/** Without `WITH (key = …)`: pk_<entity>, else what tells the groups apart, else the primary key of the first table. */
function conventionalKey(
  definition: ResolvedDefinition,
  entity: string,
): readonly string[] | RefusedDefinition {
  const { outputs, grouping } = definition.readings[0]!;
  const conventional = `pk_${entity}`;
  if (outputs.some(({ name }) => name === conventional)) return [conventional];
  const outputOf = (wanted: Origin): string | undefined =>
    outputs.find(({ origin }) => isSameOrigin(origin, wanted))?.name;
  const root = definition.occurrences.find(({ index }) => definition.always.has(index));
  // In another branch of a UNION it may be a column of another table: a key only if somebody says so.
  const isOneColumn = (name: string): boolean =>
    new Set(
      definition.readings.map((reading) => {
        const origin = reading.outputs.find((output) => output.name === name)?.origin;
        return origin?.kind === 'column'
          ? `${definition.occurrences[origin.occurrence]!.relation.oid}.${origin.column}`
          : null;
      }),
    ).size === 1;
  const names =
    grouping !== null
      ? decidedBy(definition, grouping).map(outputOf)
      : (root?.relation.primaryKey?.map((column) =>
          outputOf({ kind: 'column', occurrence: root.index, column }),
        ) ?? []);
  const found = names.filter((name) => name !== undefined);
  const isWhole = found.length > 0 && found.length === names.length;
  if (isWhole && (grouping !== null || found.every(isOneColumn))) return [...new Set(found)];
  const firstKey =
    root?.relation.family.form === 'parent'
      ? 'the primary key of its first table says nothing of the rows of the tables that inherit from it'
      : 'the primary key of its first table is not among its columns';
  if (grouping?.some(({ kind }) => kind === 'computed')) {
    return refusal(
      'the definition has no key',
      `It has no column ${conventional}, and is grouped by an expression that cannot be one.`,
      otherKeys,
    );
  }
  return refusal(
    'the definition has no key',
    grouping === null
      ? `It has no column ${conventional}, and ${firstKey}.`
      : `It has no column ${conventional}, and not all that it is grouped by is among its columns.`,
    `Add the primary key to the select list as ${conventional}, or name the columns that identify a row: WITH (key = '…').`,
  );
}

const otherKeys =
  'Choose plain columns of the sources as key, or expressions over columns of one table by functions that cannot fail; or group by a stored (generated) column.';

function checkedOutput(output: CatalogColumn): CatalogColumn {
  if (!output.isArray && output.isOrdered) return output;
  return refuse(
    `key column "${output.name}" has type ${output.type}, which cannot be a key`,
    output.isArray ? 'Arrays are not supported as keys.' : 'The type has no default btree operator class.',
    'Use a column of a scalar type.',
  );
}

/** What of the sources a key column is; or why it is nothing of theirs that every row has. */
function keyColumn(
  definition: ResolvedDefinition,
  { name, origin }: NamedOrigin,
  output: CatalogColumn,
): KeyColumn | RefusedDefinition {
  if (origin.kind === 'constant') return { output, kind: 'constant', sql: origin.sql };
  if (origin.kind === 'computed' || origin.kind === 'element') {
    return refusal(
      `key column "${name}" is computed`,
      `It is ${origin.how}: from a changed row one cannot tell which keys it belongs to.`,
      otherKeys,
    );
  }
  const { occurrence } = origin;
  const { alias, relation, unbounded } = definition.occurrences[occurrence]!;
  if (unbounded !== null) return unbounded;
  if (!definition.always.has(occurrence)) {
    return refusal(
      `key column "${name}" comes from the nullable side of an outer join`,
      `Rows without a partner in ${alias} would have no key.`,
      `Take the key from the table on the other side of the join: WITH (key = 'column, …').`,
    );
  }
  const isFilled = (column: string): boolean =>
    definition.notNull.has(columnKey(occurrence, column)) ||
    relation.columns.some((candidate) => candidate.name === column && candidate.notNull);
  if (origin.kind === 'column') {
    const { column } = origin;
    if (isFilled(column)) return { output, kind: 'column', occurrence, column };
    return refusal(
      `key column "${name}" may be null`,
      `Column ${alias}.${column} has no NOT NULL constraint, and a row without a key cannot be kept.`,
      `Add NOT NULL to the column, or WHERE ${alias}.${column} IS NOT NULL to the definition.`,
    );
  }
  const { pieces, immutableSince, filledIf } = origin;
  if (!isKept(origin.gives, output)) {
    return refusal(
      `key column "${name}" is computed, and converted to ${output.type}`,
      `UNION, INTERSECT, EXCEPT and USING give columns of different types one that they have in common, and ${shownExpression(pieces, alias)} may be another number then.`,
      `Cast it in each branch: (…)::${output.type}.`,
    );
  }
  if (filledIf?.every(isFilled) || definition.notNull.has(originKey(origin)!)) {
    return { output, kind: 'expression', occurrence, pieces, immutableSince };
  }
  const shown = shownExpression(pieces, alias);
  const empty = filledIf?.find((column) => !isFilled(column));
  return refusal(
    `key column "${name}" may be null`,
    empty === undefined
      ? `${shown} can be NULL although its columns are not, and a row without a key cannot be kept.`
      : `Column ${alias}.${empty} has no NOT NULL constraint, and a row without a key cannot be kept.`,
    `Write COALESCE(${shown}, …), or add WHERE ${shown} IS NOT NULL to the definition.`,
  );
}

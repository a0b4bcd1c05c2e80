/**
 * Refuses types by which a definition reads more than its rows: a text that becomes a date may say 'now', a regclass shows
 * a name of the catalog, a JSON function calls a type's own cast to json. No function in the definition tells of these.
 */
import type { SqlExecutor } from '../database/executor.ts';
import type { CatalogView } from './catalog.ts';
import { type Owned, refuseStranger, strangerSql } from './owner.ts';
import { refuse } from './refuse.ts';

/** A type that a definition handles, or one inside it: below a domain, an element, a bound, an attribute. */
interface TypeRow extends Owned {
  /** The type the definition handles; `name` is the one inside it, often the same. */
  readonly type: string;
  /** Whether text or JSON becomes a value of the type, which takes the input function of every type inside it. */
  readonly isConverted: boolean;
  readonly isDomain: boolean;
  /** It has input and output functions of its own, in C. */
  readonly isBase: boolean;
  readonly isForeign: boolean;
  readonly isTime: boolean;
  /** regclass, regproc …: a name in the catalog. */
  readonly isCatalogName: boolean;
  readonly hasJsonCast: boolean;
  readonly isStrangers: boolean;
}

/** Types below, and whatever is inside of them, are pg_catalog's (FirstUnpinnedObjectId, PostgreSQL's access/transam.h). */
export const firstUnpinnedType = 12_000;

/** Of which there is nothing to refuse, and nothing to ask: most definitions have no others. */
const plainTypes: ReadonlySet<number> = new Set([
  // Where a node has none.
  0,
  // bool bytea char name int8 int2 int4 text oid json float4 float8 bpchar varchar interval numeric uuid jsonb
  ...[16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 700, 701, 1042, 1043, 1186, 1700, 2950, 3802],
  // Their arrays.
  ...[
    1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 1028, 199, 1021, 1022, 1014, 1015, 1187, 1231, 2951, 3807,
  ],
  // unknown record any internal anyelement: of arguments and of an aggregate's state.
  ...[705, 2249, 2276, 2281, 2283],
]);

/** `inside (type, part)`: with each type of $1 those that its values are made of, itself among them. */
export const partsOfTypes = `WITH RECURSIVE inside (type, part) AS (
    SELECT handled, handled FROM pg_catalog.unnest($1::oid[]) AS handled
    UNION
    SELECT inside.type, below.part
    FROM inside
    JOIN pg_catalog.pg_type AS type ON type.oid = inside.part
    CROSS JOIN LATERAL (
      SELECT type.typbasetype
      UNION ALL
      SELECT type.typelem
      UNION ALL
      SELECT range.rngsubtype FROM pg_catalog.pg_range AS range WHERE range.rngtypid = type.oid
      UNION ALL
      SELECT range.rngtypid FROM pg_catalog.pg_range AS range WHERE range.rngmultitypid = type.oid
      UNION ALL
      SELECT attribute.atttypid FROM pg_catalog.pg_attribute AS attribute
      WHERE attribute.attrelid = type.typrelid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS below (part)
    WHERE below.part <> 0
  )`;

const typesQuery = `
  ${partsOfTypes}
  SELECT pg_catalog.format_type(inside.type, NULL) AS type,
         pg_catalog.format_type(inside.part, NULL) AS name,
         inside.type = ANY ($2::oid[]) AS "isConverted",
         part.typtype = 'd' AS "isDomain",
         part.typtype = 'b' AND part.typcategory <> 'A' AS "isBase",
         namespace.nspname <> 'pg_catalog' AS "isForeign",
         part.typcategory = 'D' AS "isTime",
         namespace.nspname = 'pg_catalog' AND part.typname LIKE 'reg%' AS "isCatalogName",
         EXISTS (
           SELECT FROM pg_catalog.pg_cast
           WHERE castsource = part.oid AND casttarget = 'pg_catalog.json'::pg_catalog.regtype AND castfunc <> 0
         ) AS "hasJsonCast",
         part.typowner::pg_catalog.regrole::text AS owner,
         current_user::pg_catalog.regrole::text AS applier,
         ${strangerSql('part.typowner')} AS "isStrangers"
  FROM inside
  JOIN pg_catalog.pg_type AS part ON part.oid = inside.part AND (part.typtype <> 'b' OR part.typcategory <> 'A')
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = part.typnamespace
  WHERE namespace.nspname <> 'pg_catalog' OR part.typcategory = 'D' OR part.typname LIKE 'reg%'
  ORDER BY 1, 2`;

/** regconfig and regdictionary: as constants they are read when the view is created, as in to_tsvector('english', …). */
const textSearchNames: ReadonlySet<number> = new Set([3734, 3769]);

/** `where` names the view for messages. */
export async function refuseTypes(executor: SqlExecutor, view: CatalogView, where: string): Promise<void> {
  // The dump escapes blanks in names, so that a name cannot look like a field; what is no oid of a type finds none.
  const tree = withoutJoinedColumns(view.tree);
  const oids = (pattern: RegExp): number[] => [...tree.matchAll(pattern)].map(([, oid]) => Number(oid));
  const constants = oids(/ :consttype (\d+)/g).filter((oid) => !textSearchNames.has(oid));
  const others = oids(/ :(?!consttype )\w*(?:type|typeid|typid|typeId) (\d+)/g);
  // Of the nodes that have a result type, only CoerceViaIO is followed at once by the collation (primnodes.h); typid is
  // JSON_VALUE's and JSON_QUERY's RETURNING.
  // The columns of JSON_TABLE and XMLTABLE are made of text, too.
  const columns = typesOfTableExpressions(tree);
  const converted = [...oids(/ :(?:resulttype (?=\d+ :resultcollid )|typid )(\d+)/g), ...columns];
  const handled = [...new Set([...constants, ...others, ...columns])].filter((oid) => !plainTypes.has(oid));
  if (handled.length === 0) return;
  const types = await executor.query<TypeRow>(typesQuery, [handled, [...new Set(converted)]]);
  for (const type of types) refuseType(type, where);
}

/** Of the columns of a TableFunc, whose names stand before the types. VALUES and WITH have such a list of types, too, and no names. */
export const typesOfTableExpressions = (tree: string): number[] =>
  [...tree.matchAll(/ :colnames \((?:\\.|[^)\\])*\) :coltypes \(o ([\d ]+)\)/g)].flatMap(([, list]) =>
    list!.split(' ').map(Number),
  );

/** A join lists every column of both sides, whether it is read or not. What is read of them stands where it is read, too. */
function withoutJoinedColumns(tree: string): string {
  const [start, ...joins] = tree.split(' :joinaliasvars (');
  const rest = joins.map((text) => {
    let depth = 1;
    // Parentheses in names are escaped.
    for (const { 0: found, index } of text.matchAll(/\\.|[()]/g)) {
      if (found === '(') depth += 1;
      else if (found === ')') depth -= 1;
      if (depth === 0) return text.slice(index);
    }
    return text;
  });
  return start + rest.join('');
}

function refuseType(type: TypeRow, where: string): void {
  if (type.isConverted) refuseConversion(type, where);
  if (type.isCatalogName) {
    refuse(
      `type ${type.name} in ${where} is not supported in a tview`,
      'It is shown as a name of the catalog, which changes without any change of a row.',
      'Store the name in a text column.',
    );
  }
  if (!type.isForeign) return;
  if (type.hasJsonCast) {
    refuse(
      `type ${type.name} in ${where} has a cast to json of its own`,
      'JSON functions call it, and it may read tables that no trigger watches.',
      'Drop the cast, or store the value as text.',
    );
  }
  if (type.isStrangers) refuseStranger(type.isDomain ? 'DOMAIN' : 'TYPE', type);
}

function refuseConversion(found: TypeRow, where: string): void {
  const turnDown: (detail: string, hint: string) => never = (detail, hint) =>
    refuse(`a conversion of text to ${found.type} in ${where} is not supported in a tview`, detail, hint);
  const store = 'Store the value with its own type.';
  if (found.isForeign && found.isBase) {
    turnDown('The input function of a type from outside PostgreSQL may depend on anything.', store);
  }
  if (found.isTime) {
    turnDown(
      "The text may be 'now' or 'today', whose value changes without any change of a table.",
      'Use to_date(text, format) or to_timestamp(text, format), or store the value with its own type.',
    );
  }
  if (found.isCatalogName) turnDown('It looks names up in the catalog, which no trigger watches.', store);
}

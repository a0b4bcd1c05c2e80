/**
 * The locks of a flush (decision 009). Under the protocol `value`: the tview's gate, shared; then, edge by edge from the
 * farthest to the key, the values that join changed rows to others; then the keys. Under `tview`, and wherever everything
 * or very much has changed: the gate alone, exclusive.
 *
 * All are advisory locks of the transaction, taken by every flush in one order: by tview, and in it gate, edges as the plan
 * lists them, keys, each of the latter by stripe. So two transactions that flush once each never wait for each other in a
 * circle. Each step is a statement of its own: the next one's snapshot is younger than the locks of this one.
 *
 *     int4, int4 = lock_space, tview (18 bits) | what (6 bits: 0 gate, 1 keys, from 2 edges) | stripe (8 bits)
 *
 * Values hash into stripes because advisory locks fill a table of the server's that all sessions share; a collision, also
 * of tviews 2^18 ids apart, costs waiting, never a row.
 */
import { changesEverything, type Edge, type RefreshPlan, type Source } from '../definition/plan.ts';
import { quoteIdentifier, quoteLiteral } from './identifier.ts';
import { firstImageValue, imagesRelation } from './image.ts';
import { appendFound, hang } from './text.ts';

/** `value`: locks on join values and keys. `tview`: one lock per tview. */
export type LockProtocol = 'value' | 'tview';

/** What a test can leave out, to see that it is needed. `path`: far locks beyond the first edge. `tview`: the gate. */
export type LockPart = 'near' | 'far' | 'path' | 'key' | 'tview';

export interface LockOptions {
  /** First half of the locks' numbers. */
  readonly lockSpace: number;
  readonly lockProtocol: LockProtocol;
  /** A power of two up to 256; fewer only for measurements: 1 makes one lock of each edge. */
  readonly lockStripes?: number;
  /** For tests alone: no row of tviews.setting says so. */
  readonly omittedLocks?: ReadonlySet<LockPart>;
}

export interface LockedTview {
  readonly id: number;
  readonly plan: RefreshPlan;
  /** Ids of the sources, in the order of `plan.sources`. */
  readonly sourceIds: readonly number[];
}

export const maximumStripes = 256;
const edgesPerTview = 62;

export type Mode = 'exclusive' | 'shared';

/** The number of the first stripe. Bit operations, so that it is an int4 whatever the id. */
const lockNumber = (tview: number, what: number): number => (tview << 14) | (what << 8);
export const gateNumber = (tview: number): number => lockNumber(tview, 0);
export const keyNumber = (tview: number): number => lockNumber(tview, 1);
export const edgeNumber = (tview: number, edge: number): number =>
  lockNumber(tview, 2 + (edge % edgesPerTview));

export function locksValues(plan: RefreshPlan, options: LockOptions): boolean {
  return options.lockProtocol === 'value' && plan.locks != null;
}

const lockCall = (mode: Mode, number: string, { lockSpace }: LockOptions): string =>
  `${mode === 'exclusive' ? 'pg_advisory_xact_lock' : 'pg_advisory_xact_lock_shared'}(${lockSpace}, ${number})`;

/** An assignment: PERFORM would run a query. */
const lockOne = (mode: Mode, number: string, options: LockOptions): string =>
  `done := ${lockCall(mode, number, options)} IS NOT NULL;`;

/** More images of one source than this, and a flush locks the tview: it would hold so many values that the server's table fills. */
export const imagesByValue = 64;

/**
 * Whether some source's changes, an object by source, are everything or more than are locked one by one: asked once for all
 * tviews, as those conditions are long where there are many sources. Strict: a lax path would look into the arrays.
 */
export const mayBeAlone = (changes: string): string =>
  `${changes} @? 'strict $.* ? (@ == true || @.size() > ${imagesByValue})'`;

/**
 * Sets `alone`: whether the gate is held exclusively, and with it all that is in it.
 * @param everything a condition: whether every row may have changed
 * @param changes the changes by source
 * @param wide a variable: whether `mayBeAlone` of them
 */
export function gate(
  { id, plan, sourceIds }: LockedTview,
  everything: string,
  changes: string,
  wide: string,
  options: LockOptions,
): string {
  const number = String(gateNumber(id));
  const isOmitted = options.omittedLocks?.has('tview') === true;
  if (!locksValues(plan, options)) {
    return `alone := true;${isOmitted ? '' : `\n${lockOne('exclusive', number, options)}`}`;
  }
  const many = sourceIds.map(
    (source) =>
      `COALESCE(jsonb_array_length(NULLIF(${changes}->${quoteLiteral(String(source))}, 'true')), 0) > ${imagesByValue}`,
  );
  const decide = `alone := ${[everything, ...many].join(' OR ')};`;
  const lock = isOmitted
    ? ''
    : `
IF alone THEN
  ${lockOne('exclusive', number, options)}
ELSE
  ${lockOne('shared', number, options)}
END IF;`;
  if (plan.sources.some(changesEverything)) return `${decide}${lock}`;
  // In one expression: a lock once taken is not null.
  const shared = isOmitted ? 'false' : `${lockCall('shared', number, options)} IS NULL`;
  return `IF ${wide} THEN
  ${hang(`${decide}${lock}`, 2)}
ELSE
  alone := ${shared};
END IF;`;
}

/** An edge whose values are carried on to the next, or come from the one below: they are kept in arrays. */
const isCarried = (edges: readonly Edge[], index: number): boolean =>
  edges[index]!.hops.length > 0 || edges.some(({ hops }) => hops.some((hop) => hop.edge === index));

const farVariable = (edge: number, column: number): string => `refresh.far_${edge + 1}_${column + 1}`;
const farVariables = (edge: Edge, index: number): string[] => edge.links.map((_, c) => farVariable(index, c));

/** Declarations for the refresh function; empty where no values are locked. */
export function lockVariables({ plan }: LockedTview, options: LockOptions): string {
  if (!locksValues(plan, options)) return '';
  const { edges } = plan.locks!;
  return edges
    .flatMap((edge, index) =>
      isCarried(edges, index)
        ? edge.types.map((type, c) => `  far_${index + 1}_${c + 1} ${elementType(type)}[];\n`)
        : [],
    )
    .join('');
}

/** Without the length or precision: a value is compared, never cut. */
export const elementType = (type: string): string =>
  type.replace(/^(character varying|numeric)\([^)]*\)/, '$1');

export function edgeLocks(tview: LockedTview, options: LockOptions): string {
  if (!locksValues(tview.plan, options) || tview.plan.locks!.edges.length === 0) return '';
  return tview.plan.locks!.edges.map((_, index) => edgeStep(tview, index, options)).join('\n');
}

/** One side of an edge: the images its values are read from, and the columns that have them. */
interface Side {
  readonly images: string;
  readonly source: Source;
  readonly columns: readonly string[];
  readonly mode: Mode;
}

function edgeStep(tview: LockedTview, index: number, options: LockOptions): string {
  const { edges } = tview.plan.locks!;
  const edge = edges[index]!;
  const omitted = options.omittedLocks;
  const side = (place: number, end: 'far' | 'near'): Side => ({
    images: `changes->${quoteLiteral(String(tview.sourceIds[place]!))}`,
    source: tview.plan.sources[place]!,
    columns: edge.links.map((link) => link[end]),
    mode: edge.exclusive === end ? 'exclusive' : 'shared',
  });
  const far = side(edge.farSource, 'far');
  const near = side(edge.nearSource, 'near');
  const nearId = quoteLiteral(String(tview.sourceIds[edge.nearSource]!));
  // A row that has kept its links is attached to what it was: whoever changes something there finds the same keys through it.
  const nearCount = omitted?.has('near')
    ? '0'
    : `(CASE WHEN kept ? ${nearId} THEN 0 ELSE COALESCE(jsonb_array_length(${near.images}), 0) END)`;
  const number = String(edgeNumber(tview.id, index));
  const farIsLocked = !omitted?.has('far') && !(omitted?.has('path') && edge.hops.length > 0);
  const farId = quoteLiteral(String(tview.sourceIds[edge.farSource]!));
  const nearStripes = stripesOfImages(edge, near, 'refresh.near_count > 0', options);
  const carried = isCarried(edges, index);
  const counted = carried
    ? `COALESCE(cardinality(${farVariable(index, 0)}), 0)`
    : `COALESCE(jsonb_array_length(${far.images}), 0)`;
  const farCount = farIsLocked ? counted : '0';
  const farStripes = carried
    ? stripesOfArrays(edge, index, far.mode, options)
    : stripesOfImages(edge, far, 'refresh.far_count > 0', options);
  // Those carried are not null.
  const farLock = carried
    ? `${lockCall(
        far.mode,
        stripeOf(edge, (_, c) => `${farVariable(index, c)}[1]`, number, options),
        options,
      )} IS NOT NULL`
    : lockOfImage(edge, far, number, options);
  const touched = [
    `changes ? ${farId}`,
    ...edge.hops.map((hop) => `${farVariable(hop.edge, 0)} IS NOT NULL`),
    `(changes ? ${nearId} AND NOT kept ? ${nearId})`,
  ];
  // One value, the common case, takes two expressions and no query.
  const step = `${carried ? `${carryValues(tview, index, far)}\n` : ''}IF ${farCount} + ${nearCount} = 1 THEN
  done := CASE
    WHEN ${farCount} = 1 THEN ${farLock}
    ELSE ${lockOfImage(edge, near, number, options)}
  END;
ELSE
  far_count := ${farCount};
  near_count := ${nearCount};
  IF far_count + near_count > 0 THEN
    ${hang(lockStripes([farStripes, nearStripes], number, options), 4)}
  END IF;
END IF;`;
  return `-- ${edge.path.replaceAll(/\s+/g, ' ')}
IF ${touched.join(' OR ')} THEN
  ${hang(step, 2)}
END IF;`;
}

/** Fills the edge's arrays: from the images of its own far table, and through its rows from the edges below. */
function carryValues(tview: LockedTview, index: number, far: Side): string {
  const edge = tview.plan.locks!.edges[index]!;
  const variables = farVariables(edge, index);
  const columns = valueColumns(edge);
  const append = (query: string): string => `${appendFound(variables, query, 'f', columns)}
WHERE ${columns.map((name) => `f.${name} IS NOT NULL`).join(' AND ')};`;
  const values = far.columns.map((name) => imageOf(far, name));
  const own = `IF jsonb_array_length(${far.images}) = 1 THEN
  IF ${values.map((value) => `${value} IS NOT NULL`).join(' AND ')} THEN
    ${variables.map((name, c) => `${name} := array[${values[c]!}];`).join(' ')}
  END IF;
ELSIF jsonb_array_length(${far.images}) > 1 THEN
  ${hang(append(`SELECT DISTINCT ${far.columns.map((name) => `i.${quoteIdentifier(name)}`).join(', ')}\nFROM (\n  ${hang(imagesRelation(far.images, columnsOf(far)), 2)}\n) AS i`), 2)}
END IF;`;
  const below = edge.hops.map(({ edge: from, query }) => {
    const edgeBelow = tview.plan.locks!.edges[from]!;
    return `IF ${farVariable(from, 0)} IS NOT NULL THEN
  ${hang(
    append(`WITH below AS (
  SELECT * FROM unnest(${farVariables(edgeBelow, from).join(', ')}) AS b (${valueColumns(edgeBelow).join(', ')})
)
${query}`),
    2,
  )}
END IF;`;
  });
  return [own, ...below].join('\n');
}

const valueColumns = (edge: Edge): string[] => edge.links.map((_, c) => `v${c + 1}`);

const columnsOf = ({ source, columns }: Side): Source['linkColumns'] =>
  source.linkColumns.filter(({ name }) => columns.includes(name));

/** The stripe of an edge's values; the first where they have no hash in common. */
function stripeOf(
  edge: Edge,
  value: (column: string, index: number) => string,
  number: string,
  options: LockOptions,
): string {
  const hashed = edge.links.flatMap((link, c) => (link.isHashed ? [value(link.far, c)] : []));
  return hashed.length === 0 ? number : `${number} + ${hash(hashed, options)}`;
}

/** Of the types' own hash functions: what is equal to the link's operator has one hash, whatever it looks like. */
const hash = (values: readonly string[], { lockStripes = maximumStripes }: LockOptions): string =>
  `(hash_record(ROW(${values.join(', ')})) & ${lockStripes - 1})`;

/** A boolean expression that locks the value of the first image, and is null where it has none. */
function lockOfImage(edge: Edge, side: Side, number: string, options: LockOptions): string {
  const values = side.columns.map((name) => imageOf(side, name));
  const lock = lockCall(
    side.mode,
    stripeOf(edge, (_, c) => values[c]!, number, options),
    options,
  );
  return `CASE WHEN ${values.map((value) => `${value} IS NOT NULL`).join(' AND ')} THEN ${lock} IS NOT NULL END`;
}

/** A column of the first image. */
const imageOf = ({ images, source }: Side, name: string): string =>
  firstImageValue(images, source.linkColumns, name);

function stripesOfImages(edge: Edge, side: Side, condition: string, options: LockOptions): string {
  const value = (name: string): string => `i.${quoteIdentifier(name)}`;
  const linked = side.columns.map((name) => `${value(name)} IS NOT NULL`);
  return `SELECT ${stripeOf(edge, (_, c) => value(side.columns[c]!), '0', options)}, ${side.mode === 'exclusive'}
FROM (
  ${hang(imagesRelation(side.images, columnsOf(side)), 2)}
) AS i
WHERE ${[condition, ...linked].join(' AND ')}`;
}

function stripesOfArrays(edge: Edge, index: number, mode: Mode, options: LockOptions): string {
  return `SELECT ${stripeOf(edge, (_, c) => `f.v${c + 1}`, '0', options)}, ${mode === 'exclusive'}
FROM unnest(${farVariables(edge, index).join(', ')}) AS f (${valueColumns(edge).join(', ')})
WHERE refresh.far_count > 0`;
}

/** Each stripe once, in the stronger mode, in ascending order: a lock that were taken again in a stronger one could deadlock. */
function lockStripes(sets: readonly string[], number: string, options: LockOptions): string {
  const stripe = `${number} + l.stripe`;
  return `SELECT
  count(${lockCall('exclusive', stripe, options)}) FILTER (WHERE l.exclusive)
  + count(${lockCall('shared', stripe, options)}) FILTER (WHERE NOT l.exclusive)
INTO computed
FROM (
  SELECT s.stripe, bool_or(s.exclusive) AS exclusive
  FROM (
    ${hang(sets.join('\nUNION ALL\n'), 4)}
  ) AS s (stripe, exclusive)
  GROUP BY s.stripe
  ORDER BY s.stripe
) AS l;`;
}

const locksKeys = ({ plan }: LockedTview, options: LockOptions): boolean =>
  locksValues(plan, options) && options.omittedLocks?.has('key') !== true;

/**
 * The lock of a key, whether it has a row or not: a row lock would not hold one that is not there. Empty where keys are not
 * locked. @param values one per key column
 */
export function oneKeyLock(tview: LockedTview, values: readonly string[], options: LockOptions): string {
  if (!locksKeys(tview, options)) return '';
  const number = String(keyNumber(tview.id));
  const stripe = tview.plan.locks!.keyIsHashed ? `${number} + ${hash(values, options)}` : number;
  return `done := CASE WHEN NOT alone THEN ${lockCall('exclusive', stripe, options)} IS NOT NULL END;`;
}

/** The same of several keys. @param variables arrays, one per key column */
export function keyLocks(tview: LockedTview, variables: readonly string[], options: LockOptions): string {
  if (!locksKeys(tview, options)) return '';
  const number = String(keyNumber(tview.id));
  const names = variables.map((_, i) => `k${i + 1}`);
  const stripes = `SELECT ${hash(
    names.map((name) => `k.${name}`),
    options,
  )}, true\nFROM unnest(${variables.join(', ')}) AS k (${names.join(', ')})`;
  const lock = tview.plan.locks!.keyIsHashed
    ? lockStripes([stripes], number, options)
    : lockOne('exclusive', number, options);
  return `IF NOT alone THEN
  ${hang(lock, 2)}
END IF;`;
}

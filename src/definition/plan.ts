/**
 * The refresh plan: what a definition compiles to. A readonly value that can be printed; `definition/` makes it,
 * `database/` turns it into SQL, `explain` shows it to people. It knows nothing of triggers or locks.
 */

/** A schema-qualified name, unquoted. */
export interface QualifiedName {
  readonly schema: string;
  readonly name: string;
}

/** A column as the catalog describes it. */
export interface Column {
  readonly name: string;
  /** As `format_type(atttypid, atttypmod)` prints it with an empty search_path: `integer`, `numeric(10,2)`, `shop.colour`. */
  readonly type: string;
  /** Collation to state when the column is created again, quoted and qualified; null where it is the type's default. */
  readonly collation: string | null;
}

/** How a change of one occurrence of a source reaches the keys (keys-and-locks.md, R1 and Theorem 2). */
export interface Occurrence {
  /** Position in the definition, from 0, in the order in which the walk met it. */
  readonly index: number;
  /** The alias by which the definition names it; the table's name where there is none. */
  readonly alias: string;
  /**
   * `local`: the key is in the changed row itself. `mapped`: the key is reached by joining the path to the root.
   * `everything`: which keys a changed row belongs to cannot be said, and whoever made the tview has agreed to have every
   * row computed anew (`WITH (full_refresh = …)`).
   */
  readonly mapping: 'local' | 'mapped' | 'everything';
  /** `local`: the columns of the changed row that are the key, in the key's order. Otherwise null. */
  readonly keyColumns: readonly string[] | null;
  /** The path to the root for people, for example `category c → product p (p.fk_category = c.pk_category)`. */
  readonly path: string;
  /**
   * A SELECT that yields the affected keys, one column per key column, in the key's order and cast to its types.
   * It reads the images of the changed rows from a relation called `changed` (columns: the source's link columns) and
   * joins only the path: link predicates, no filters. Every other name in it is schema-qualified and quoted. Null where
   * the mapping is `everything`.
   */
  readonly keyQuery: string | null;
  /** Every table the key query joins, with the column it is probed by: indexes that should exist. */
  readonly probes: readonly { readonly table: QualifiedName; readonly columns: readonly string[] }[];
}

/** What a table is in its family (family.ts). `parent`: others inherit from it. Of one that inherits itself there is none: it is refused. */
export type Form = 'table' | 'partitioned' | 'partition' | 'parent';

/** A table the definition reads. */
export interface Source {
  readonly oid: number;
  readonly table: QualifiedName;
  /** `table`: captured by triggers. `tview`: its changes come from the flush of that tview. */
  readonly kind: 'table' | 'tview';
  /** Absent in plans from before there was anything but `table`. */
  readonly form?: Form;
  /** Columns any key query reads from `changed`, and those by which others link to this table. The images carry exactly these. Empty where nothing is derived from them. */
  readonly linkColumns: readonly Column[];
  /**
   * Every column the definition reads: an update that changes none of them is no change. Includes the link columns, and of
   * a partition those that decide which rows are in it.
   */
  readonly referencedColumns: readonly string[];
  /** The primary key: images that carry it are distinct as they are. Null where none tells all rows apart that a statement may touch. */
  readonly primaryKey: readonly string[] | null;
  readonly occurrences: readonly Occurrence[];
}

/** Whether any change of the source may change every row. */
export const changesEverything = ({ occurrences }: Pick<Source, 'occurrences'>): boolean =>
  occurrences.some(({ mapping }) => mapping === 'everything');

/** One equality of an edge: `far.x = near.y`. */
export interface EdgeLink {
  readonly far: string;
  readonly near: string;
  /**
   * Whether equal values of the two columns have equal hashes, so that a lock can stand for a value. Where no link of an
   * edge has, the edge is one lock.
   */
  readonly isHashed: boolean;
}

/**
 * One hop of the tree of paths: a table's rows (far), and those of the table by which they reach the key (near). Between
 * two transactions that change one side each, neither of which sees the other's row, a lock on the value that would join
 * the two is all that tells them of each other (decision 009). An occurrence that has the key itself has no edge: the lock
 * on the key is its.
 */
export interface Edge {
  /** Places in `sources`. */
  readonly farSource: number;
  readonly nearSource: number;
  readonly links: readonly EdgeLink[];
  /** Types of the links' far columns, for values that are carried on to the next edge. */
  readonly types: readonly string[];
  /** Whose lock is exclusive: that of the side which has at most one row per value. The other side's rows do not exclude each other. */
  readonly exclusive: 'far' | 'near';
  /**
   * Edges whose near table is this one's far table: what changes below them reaches the key through rows of this far
   * table. Each query reads the values locked below from a relation `below` (columns v1, v2, …) and yields this edge's.
   */
  readonly hops: readonly { readonly edge: number; readonly query: string }[];
  /** For people: `category c → product p (p.fk_category = c.pk_category)`. */
  readonly path: string;
}

/** What a flush locks, beside the keys, so that no two transactions miss each other. */
export interface ValueLocks {
  /** In the order in which they are locked: the farthest from the key first. */
  readonly edges: readonly Edge[];
  /** Whether equal keys have equal hashes; where not, all keys are one lock. */
  readonly keyIsHashed: boolean;
}

/** Something the user should know that does not stop the tview from being created. */
export interface Advice {
  readonly kind: 'unordered-aggregate' | 'missing-index';
  readonly message: string;
  /** What to do, as a sentence or as SQL to run. */
  readonly hint: string;
}

export interface RefreshPlan {
  readonly table: QualifiedName;
  readonly view: QualifiedName;
  /** The definition as the server deparses it. */
  readonly definition: string;
  /** All columns of the definition, in order. */
  readonly columns: readonly Column[];
  /** The columns that identify a row, a subset of `columns`, in key order. Never empty. */
  readonly key: readonly Column[];
  readonly sources: readonly Source[];
  /**
   * Whether a condition on the key does not reach into the definition, so that one row costs as much as all: a FULL JOIN, or a
   * window whose partition is not the key.
   */
  readonly isComputedWhole?: boolean;
  /** Null where values cannot be locked; absent in plans from before there were such locks. Then the tview is one lock. */
  readonly locks?: ValueLocks | null;
  readonly advice: readonly Advice[];
  /** Absent in plans from before changes of the schema were followed. */
  readonly basis?: Basis;
}

/** What a plan was made from, to tell what of that has changed (basis.ts). */
export interface Basis {
  /** Of all that the compiler reads, by names: it changes with whatever may make another plan. */
  readonly fingerprint: string;
  /** Where oids and numbers of columns mean what they do here: in another database, restored from this one's dump, they are others. */
  readonly home: string;
  /** Of the definition's stored parse trees, and of the views' below: no rename changes them, CREATE OR REPLACE VIEW does. */
  readonly trees: string;
  /** Types from outside PostgreSQL that the definition handles, with what is shown of their values. */
  readonly types: readonly TypeFacts[];
  readonly outline: Outline;
}

export interface TypeFacts {
  readonly oid: number;
  readonly name: string;
  /** Of an enum, in order. */
  readonly labels: readonly { readonly oid: number; readonly label: string }[];
  /** Of a composite, in order. */
  readonly attributes: readonly { readonly number: number; readonly name: string; readonly type: string }[];
  readonly hasJsonCast: boolean;
}

/** The plan without names: tables by oid, columns by number. Two plans of one outline differ by names alone. */
export interface Outline {
  /** In the order of `RefreshPlan.sources`. */
  readonly sources: readonly {
    readonly oid: number;
    readonly kind: Source['kind'];
    readonly form: Form;
    readonly links: readonly number[];
    readonly linkTypes: readonly string[];
    readonly reads: readonly number[];
    readonly primaryKey: readonly number[] | null;
    readonly mappings: readonly Occurrence['mapping'][];
    /** Generated columns, each with a digest of its expression; absent in plans from before that was looked at. */
    readonly generations?: readonly (readonly [number: number, tree: string])[];
    /** Names of all columns the plan has something to do with, as they were. */
    readonly names: readonly { readonly number: number; readonly name: string }[];
  }[];
  readonly key: readonly string[];
  /** The way of each bounded occurrence to the key, as JSON. */
  readonly paths: readonly string[];
  readonly edges: readonly {
    readonly far: number;
    readonly near: number;
    readonly links: readonly (readonly [far: number, near: number, isHashed: boolean])[];
    readonly exclusive: Edge['exclusive'];
  }[];
  readonly isComputedWhole: boolean;
}

/** A `CREATE TVIEW` statement, or one of pg_tviews' forms of it, as written. */
export interface CreateTview {
  readonly kind: 'create';
  /** Null: the first schema of the search_path, as for any other table. */
  readonly schema: string | null;
  readonly name: string;
  readonly ifExists: 'error' | 'skip' | 'replace';
  /** `WITH (key = 'a, b')`; null: by convention `pk_<entity>`, else derived from the definition (see derive). */
  readonly key: readonly string[] | null;
  /**
   * `WITH (full_refresh = 'a, shop.b')`: tables of which a change may make every row be computed anew, where nothing less can
   * be derived; `'*'`: all of them. Absent: none.
   */
  readonly fullRefresh?: '*' | readonly RelationName[];
  readonly query: string;
}

/** As written: without a schema it is found by the search_path. */
export interface RelationName {
  readonly schema: string | null;
  readonly name: string;
}

export interface DropTview {
  readonly kind: 'drop';
  readonly schema: string | null;
  readonly name: string;
  readonly ifExists: boolean;
}

export type TviewStatement = CreateTview | DropTview;

/** Where a statement stands in its text, for error messages. Offsets in characters from 0; lines and columns from 1. */
export interface Located<Statement> {
  readonly statement: Statement;
  /** Where the definition's query stands in the text, as `offset`; null for a statement without one. */
  readonly queryOffset: number | null;
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

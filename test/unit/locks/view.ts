/** What a definition says of a key, and which keys a change reaches. */
import { type Definition, linkValue, NULL, type Occurrence, type Row } from './schema.ts';

/** Rows by table and id. */
export type State = readonly (readonly (Row | undefined)[])[];

/** One row's change; images are undefined where there is none. */
export interface Change {
  readonly table: number;
  readonly old: Row | undefined;
  readonly now: Row | undefined;
}

/** TRUNCATE leaves no images. */
export interface Everything {
  readonly table: number;
  readonly everything: true;
}

/**
 * The row of a key: everything that links reach from it and filters let through, nested, so that whatever is missed shows.
 * Its own link columns are worked out of it: a definition that reads this one sees rows that move for any reason.
 */
export function contentOf(definition: Definition, state: State, key: number): Row | undefined {
  let text = '';
  for (const root of definition.roots) {
    const found: string[] = [];
    for (const row of state[root.table]!) {
      if (row === undefined || row.columns[root.key] !== key) continue;
      const shown = render(definition, state, root, row);
      if (shown !== '') found.push(shown);
    }
    if (!joins(root, found.length)) return undefined;
    text += `[${found.join('')}]`;
  }
  let mixed = 7;
  for (let place = 0; place < text.length; place += 1) mixed = (mixed * 31 + text.charCodeAt(place)) % 65_521;
  return { columns: [key, mixed % 4, (mixed >> 4) % 4], value: text, shown: mixed % 3 !== 0 };
}

function render(definition: Definition, state: State, occurrence: Occurrence, row: Row): string {
  if (occurrence.filtered && !row.shown) return '';
  let text = `(${row.columns[0]}=${row.value}`;
  for (const child of definition.children[occurrence.index]!) {
    const value = linkValue(row, child.near);
    let found = '';
    if (value !== NULL)
      for (const below of state[child.table]!)
        if (below !== undefined && linkValue(below, child.far) === value)
          found += render(definition, state, child, below);
    if (!joins(child, found.length)) return '';
    text += `[${found}]`;
  }
  return `${text})`;
}

const joins = (occurrence: Occurrence, found: number): boolean =>
  occurrence.join === 'outer' || (occurrence.join === 'inner') === found > 0;

export function sameContent(a: Row | undefined, b: Row | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.value === b.value && a.columns[0] === b.columns[0];
}

/** The keys that changes reach: by links alone, from both images, in the state given; `filters` is what must not be done. */
export function keysOf(
  definition: Definition,
  state: State,
  changes: readonly (Change | Everything)[],
  filters = false,
): Set<number> {
  const keys = new Set<number>();
  for (const change of changes) {
    if ('everything' in change) {
      if (definition.sources.has(change.table)) addAllKeys(definition, state, keys);
      continue;
    }
    for (const occurrence of definition.occurrences) {
      if (occurrence.table !== change.table) continue;
      if (change.old !== undefined) climb(definition, state, occurrence, change.old, filters, keys);
      if (change.now !== undefined) climb(definition, state, occurrence, change.now, filters, keys);
    }
  }
  return keys;
}

function climb(
  definition: Definition,
  state: State,
  occurrence: Occurrence,
  row: Row,
  filters: boolean,
  keys: Set<number>,
): void {
  if (occurrence.parent === null) {
    const key = row.columns[occurrence.key]!;
    if (key !== NULL) keys.add(key);
    return;
  }
  const value = linkValue(row, occurrence.far);
  if (value === NULL) return;
  const parent = definition.occurrences[occurrence.parent]!;
  for (const above of state[parent.table]!)
    if (
      above !== undefined &&
      linkValue(above, occurrence.near) === value &&
      !(filters && parent.filtered && !above.shown)
    )
      climb(definition, state, parent, above, filters, keys);
}

/** Every key that has a row or may have one. */
export function addAllKeys(definition: Definition, state: State, keys: Set<number>): void {
  for (const row of state[definition.target]!) if (row !== undefined) keys.add(row.columns[0]!);
  for (const root of definition.roots)
    for (const row of state[root.table]!)
      if (row !== undefined && row.columns[root.key] !== NULL) keys.add(row.columns[root.key]!);
}

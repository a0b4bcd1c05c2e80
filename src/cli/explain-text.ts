/** What `tviews explain` found, laid out for a terminal of 100 columns. */
import type { Analysis } from '../database/analyze.ts';
import { describeConstruction, howToGoOn } from '../database/construction.ts';
import type { ExplainedNode, Explanation, FullRead, Reader } from '../database/explain.ts';
import { writtenName } from '../database/identifier.ts';
import type { LockedSide, LockNumbers, TviewLocks } from '../database/lock-facts.ts';
import { imagesByValue } from '../database/locks.ts';
import type { Column } from '../definition/plan.ts';
import { display } from '../definition/refuse.ts';
import { plural, size } from './terminal.ts';

const width = 100;
const indentation = '  ';

export function explanationLines(explained: Explanation): string[] {
  return [
    ...headLines(explained),
    ...section(
      'Sources, from the key outwards, with the rows of the tview that one changed row leads to (estimated)',
      treeLines(explained),
    ),
    ...section('Columns whose updates matter; an update of others refreshes nothing', columnLines(explained)),
    ...section('Key queries: "changed" has the link columns of the changed rows', queryLines(explained)),
    ...section('Indexes a refresh looks rows up by', indexLines(explained)),
    ...section(
      `Locks of a flush, in this order; advisory, classid ${explained.locks.space} in pg_locks`,
      lockLines(explained.locks),
    ),
    ...section('Tviews that read it', readerLines(explained.readers)),
  ];
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', title, '', ...lines.map((line) => `${indentation}${line}`.trimEnd())];

function headLines(explained: Explanation): string[] {
  const { table: name, view, key, columns, definition, size: extent, sources, recompute, advice } = explained;
  const places = countPlaces(explained.tree);
  const notes = [
    ...(explained.isSuspended
      ? [`It is suspended: nothing of this happens until tviews resume ${writtenName(name)}.`]
      : []),
    ...(explained.construction === null
      ? []
      : [
          `It is being built: ${describeConstruction(explained)}. ${howToGoOn({ ...name, construction: explained.construction })}`,
        ]),
    ...(explained.inForce === 'this'
      ? []
      : [
          `The definition compiles to another plan now than when it was applied, and that one is in force. Shown is what it would be now, but for the locks. ${takeOver[explained.inForce]}`,
        ]),
    ...fullReadNotes('Computing one row', recompute.fullReads),
    ...advice.map(({ message, hint }) => `${message}. ${hint}`),
  ];
  return [
    `tview ${display(name)}`,
    '',
    ...[
      ...pair('view', [
        `${display(view)}: ${plural(definition.split('\n').length, 'line')}, which read ${plural(sources.length, 'source')} in ${plural(places, 'place')}`,
      ]),
      ...pair('key', wrap(key.map(typed), ', ', width - 12)),
      ...pair('columns', wrap(columns.map(typed), ', ', width - 12)),
      ...pair('size', [
        `${extent.rows === null ? 'rows not counted yet (ANALYZE)' : `about ${plural(extent.rows, 'row')}`}, ${size(extent.bytes)} with indexes`,
      ]),
      ...notes.flatMap((note) => pair('note', wrap(note.split(' '), ' ', width - 12))),
    ].map((line) => `${indentation}${line}`),
  ];
}

const takeOver = {
  replace: 'CREATE OR REPLACE TVIEW takes it over; then run tviews verify --repair.',
  recreate:
    'It locks otherwise and finds the same keys, so that CREATE OR REPLACE TVIEW lets it be. Drop the tview and create it again, to have those locks.',
} as const;

const typed = ({ name, type }: Column): string => `${name} ${type}`;

const countPlaces = (nodes: readonly ExplainedNode[]): number =>
  nodes.reduce((sum, { places, children }) => sum + places + countPlaces(children), 0);

/** A name of ten columns, and beside it what belongs to it. */
const pair = (name: string, lines: readonly string[]): string[] =>
  lines.map((line, i) => `${(i === 0 ? name : '').padEnd(8)}  ${line}`);

function fullReadNotes(what: string, reads: readonly FullRead[]): string[] {
  return reads.map(
    (read) =>
      `${what} reads all of ${display(read)} (${read.rows === null ? '' : `about ${plural(read.rows, 'row')}, `}${size(read.tableBytes)}).`,
  );
}

/** Labels of a tree to the left, beside each what there is to say of it. */
interface Branch {
  readonly label: string;
  readonly lines: readonly string[];
  readonly children: readonly Branch[];
}

/** No label so long that nothing finds room beside it. */
const widestLabel = 46;

function branchLines(branches: readonly Branch[]): string[] {
  interface Row {
    readonly left: string;
    readonly below: string;
    readonly lines: readonly string[];
  }
  const rows: Row[] = [];
  const visit = (siblings: readonly Branch[], prefix: string, isTop: boolean): void => {
    siblings.forEach(({ label, lines, children }, i) => {
      const isLast = i === siblings.length - 1;
      const inner = isTop ? '' : `${prefix}${isLast ? '   ' : '│  '}`;
      rows.push({
        left: `${isTop ? '' : `${prefix}${isLast ? '└─ ' : '├─ '}`}${label}`,
        below: children.length === 0 ? inner : `${inner}│`,
        lines,
      });
      visit(children, inner, false);
    });
  };
  visit(branches, '', true);
  const column = Math.min(widestLabel, Math.max(...rows.map(({ left }) => left.length))) + 2;
  return rows.flatMap(({ left, below, lines }) => {
    const wrapped = lines.flatMap((line) => wrap(line.split(' '), ' ', width - column - indentation.length));
    const isLong = left.length > column - 2 && wrapped.length > 0;
    const texts = isLong ? ['', ...wrapped] : wrapped.length === 0 ? [''] : wrapped;
    return texts.map((text, i) => `${(i === 0 ? left : below).padEnd(column)}${text}`.trimEnd());
  });
}

function treeLines({ tree, key, sources }: Explanation): string[] {
  const branch = (node: ExplainedNode): Branch => ({
    label: `${display(node.table)}${shownAliases(node)}`,
    lines: nodeLines(node, sources[node.source]!),
    children: node.children.map(branch),
  });
  return branchLines([
    { label: `key (${key.map(({ name }) => name).join(', ')})`, lines: [], children: tree.map(branch) },
  ]);
}

const shownAliases = ({ aliases, table: { name } }: ExplainedNode): string =>
  aliases.length === 1 && aliases[0] === name ? '' : ` ${aliases.join(', ')}`;

function nodeLines(node: ExplainedNode, source: Explanation['sources'][number]): string[] {
  const way = {
    local: 'local, 1 row: the changed row has the key',
    mapped: `mapped, ${estimated(node.rows)}: by the key query below`,
    everything: 'everything: any change computes every row, alone (full_refresh)',
  }[node.mapping];
  const where = [
    ...(node.role === 'optional' ? ['outer join or subquery'] : []),
    ...(node.places > 1 ? [`in ${node.places} places`] : []),
  ];
  return [
    node.equalities.join(' and '),
    way,
    ...(where.length === 0 ? [] : [where.join(', ')]),
    ...(source.kind === 'table'
      ? []
      : [
          `propagated: what its own refresh changes, after writes of ${source.through.map(display).join(', ')} (see tviews explain ${writtenName(source.table)})`,
        ]),
  ];
}

/** Of an estimate more than two digits would be a pretence. */
const estimated = (rows: number): string => `about ${plural(Number(rows.toPrecision(2)), 'row')}`;

function columnLines({ sources }: Explanation): string[] {
  const names = sources.map(({ table: name }) => display(name));
  const column = Math.min(widestLabel, Math.max(...names.map((name) => name.length))) + 2;
  const room = width - column - indentation.length - 7;
  return sources.flatMap(({ linkColumns, otherColumns }, i) => {
    const links = wrap([...linkColumns], ', ', room);
    const others = wrap([...otherColumns], ', ', room);
    const rows = [
      ...links.map((line, at) => `${at === 0 ? 'links  ' : '       '}${line}`),
      ...others.map((line, at) => `${at === 0 ? 'other  ' : '       '}${line}`),
    ];
    return beside(names[i]!, rows, column);
  });
}

/** A label with lines beside it, or below it where it is too long. */
function beside(label: string, lines: readonly string[], column: number): string[] {
  const texts = label.length > column - 2 ? ['', ...lines] : lines;
  return texts.map((text, i) => `${(i === 0 ? label : '').padEnd(column)}${text}`.trimEnd());
}

function queryLines({ tree }: Explanation): string[] {
  const shown = new Map<string, ExplainedNode>();
  const visit = (node: ExplainedNode): void => {
    if (node.keyQuery !== null && node.mapping === 'mapped' && !shown.has(node.keyQuery)) {
      shown.set(node.keyQuery, node);
    }
    node.children.forEach(visit);
  };
  tree.forEach(visit);
  return [...shown.values()].flatMap(({ path, readable, fullReads }, i) => [
    ...(i === 0 ? [] : ['']),
    ...wrap(path.split(' '), ' ', width - 2),
    ...(readable ?? '').split('\n').map((line) => `${indentation}${line}`),
    ...fullReadNotes('Its plan', fullReads).flatMap((note) =>
      wrap(note.split(' '), ' ', width - 8).map((line, at) => `${at === 0 ? '  ! ' : '    '}${line}`),
    ),
  ]);
}

function indexLines({ indexes }: Explanation): string[] {
  const rows = indexes.map(({ table: name, columns, index, purpose }) => [
    `${display(name)} (${columns.join(', ')})`,
    index ?? 'MISSING',
    purpose,
  ]);
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const fits = widths[0]! + widths[1]! + 4 + 26 <= width;
  return rows.flatMap(([lookup, index, purpose], i) => {
    const line = fits
      ? [`${lookup!.padEnd(widths[0]!)}  ${index!.padEnd(widths[1]!)}  ${purpose}`]
      : [lookup!, `  ${index}: ${purpose}`];
    return indexes[i]!.index === null ? [...line, `  ${indexes[i]!.hint}`] : line;
  });
}

function lockLines(locks: TviewLocks): string[] {
  const { gate, byValue, edges, keys } = locks;
  if (!byValue) {
    return pair('gate', [`exclusive: flushes of this tview run one after the other (objid ${gate})`]);
  }
  const sideLine = (end: string, { mode, table: name, columns }: LockedSide, what: string): string[] =>
    wrap(
      `${end} ${mode.padEnd(9)}  ${display(name)} (${columns.join(', ')}) ${what}`.split(' '),
      ' ',
      width - 14,
    );
  return [
    ...pair(
      'gate',
      [
        `shared (objid ${gate})`,
        `exclusive, and alone: TRUNCATE, rebuild, repair, more than ${imagesByValue} changed rows of a source`,
      ].flatMap((line) => wrap(line.split(' '), ' ', width - 12)),
    ),
    ...edges.flatMap(({ path, numbers, far, near, from }, i) => [
      '',
      ...pair(`edge ${i + 1}`, [
        ...wrap(path.split(' '), ' ', width - 12),
        ...sideLine(
          'far ',
          far,
          `of changed rows${from.length === 0 ? '' : `, and of rows ${andList(from.map((edge) => `edge ${edge + 1}`))} leads to`}`,
        ),
        ...sideLine('near', near, 'of rows that came, went or moved'),
        shownNumbers(numbers),
      ]),
    ]),
    '',
    ...pair('keys', [
      `exclusive  (${keys!.columns.join(', ')}) of rows to compute`,
      shownNumbers(keys!.numbers),
    ]),
  ];
}

const shownNumbers = ([first, last]: LockNumbers): string =>
  first === last
    ? `one lock for all values (objid ${first})`
    : `objid ${first} to ${last}, by the values' hash`;

const andList = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;

function readerLines(readers: readonly Reader[]): string[] {
  if (readers.length === 0) return ['none'];
  const branch = ({ tview, readers: next }: Reader): Branch => ({
    label: display(tview),
    lines: [],
    children: next.map(branch),
  });
  return branchLines(readers.map(branch));
}

const steps = { reads: 'its key queries or computing its rows', flush: 'the flush' } as const;
const legend =
  'flush: by its own report; first: the first of a session, which plans; pages: of 8 kB, hit or read';

export function analysisLines(analyses: readonly Analysis[]): string[] {
  const rows: string[][] = [];
  const notes: string[] = [];
  for (const { source, outcome } of analyses) {
    const name = display(source);
    if (outcome.kind === 'empty') notes.push(`${name}: it has no row`);
    else if (outcome.kind === 'everything') notes.push(`${name}: not tried, for every row would be computed`);
    else if (outcome.kind === 'failed')
      notes.push(`${name}: given up in ${steps[outcome.step]}: ${outcome.message}`);
    else {
      const { keys, written, deleted, ms, firstMs, keyQueries, recompute, image } = outcome;
      const isMapped = keyQueries.length > 0;
      const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
      rows.push([
        name,
        String(keys),
        String(written + deleted),
        ms.toFixed(2),
        firstMs.toFixed(2),
        isMapped ? sum(keyQueries.map((one) => one.ms)).toFixed(2) : '',
        isMapped ? String(sum(keyQueries.map((one) => one.buffers))) : '',
        recompute.ms.toFixed(2),
        String(recompute.buffers),
      ]);
      notes.push(`${name}: ${image}`);
      if (recompute.how === 'whole') notes.push('  so many keys that every row is computed, and compared');
      if (written + deleted > 0)
        notes.push('  ! not in step with its definition before: run "tviews verify"');
    }
  }
  const head = ['', 'keys', 'written', 'flush', 'first', 'key query', 'pages', 'recompute', 'pages'];
  return section(
    'Analyzed: an existing row of each source, flushed as if it were updated and rolled back (in ms)',
    [
      ...(rows.length === 0 ? [] : [...numbersTable(head, rows), '', legend, '']),
      ...notes.flatMap((note) => wrap(note.split(' '), ' ', width - indentation.length)),
    ],
  );
}

/** The first column to the left, the others to the right. */
function numbersTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
}

/** Words put into lines of at most so many columns; a longer word has a line of its own. */
function wrap(words: readonly string[], separator: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || last.length + separator.length + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last}${separator}${word}`;
  }
  // A list that goes on in the next line says so.
  return lines.map((line, i) => (i < lines.length - 1 ? `${line}${separator.trimEnd()}` : line));
}

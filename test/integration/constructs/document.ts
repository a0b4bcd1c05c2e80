/** What the matrix has found, as docs/constructs.md says it. */
import { constructs } from './constructs.ts';
import type { ForeignKeyOutcome } from './foreign-keys.ts';
import { isPlayed, type Outcome, type Outcomes, type Refusal } from './matrix.ts';
import { sourceKinds, unfitKinds } from './sources.ts';

export interface Found {
  /** By the kind's name. */
  readonly kinds: ReadonlyMap<string, Outcomes>;
  readonly unfit: ReadonlyMap<string, Outcomes>;
  readonly foreignKeys: readonly ForeignKeyOutcome[];
}

const head = `# Constructs

What becomes of each construct, over each kind of source that it can read. Found by a test on PostgreSQL 18
([test/integration/constructs](../test/integration/constructs), where the definitions stand): it makes the tviews, writes rows in every way, and compares
each with its definition after each transaction. [Limits](limits.md) says why, and what to do instead.

- **local**: the key is in the changed row itself, or equals a column of it.
- **mapped**: the key is found from the changed row, by joining the way to it.
- **propagated**: the source is a tview; the rows its flush has written lead to the key, in one of these two ways.
- **all keys**: refused, unless the table is listed in \`full_refresh\`: then each transaction that changes it computes every row.
- **refused**.

A cell with ° is written to by the long run of the test alone; the usual one compiles it.
`;

const table = (rows: readonly (readonly string[])[]): string => {
  const [first, ...rest] = rows.map((row) => `| ${row.join(' | ')} |`);
  return `${[first, `|${'---|'.repeat(rows[0]!.length)}`, ...rest].join('\n')}\n`;
};

/** In a cell. */
const text = (words: string): string => words.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function cell(outcome: Outcome): string {
  return outcome.kind === 'bounded' ? outcome.how : outcome.kind;
}

function matrixOf(group: string, kinds: Found['kinds']): string {
  const rows = constructs
    .filter((construct) => construct.group === group)
    .map((construct) => [
      text(construct.name),
      ...sourceKinds.map(
        (kind) => cell(kinds.get(kind.name)!.get(construct.name)!) + (isPlayed(construct, kind) ? '' : '°'),
      ),
    ]);
  return `## ${group}\n\n${table([['', ...sourceKinds.map(({ name }) => name)], ...rows])}`;
}

/** The message and the way out; not the way that is the same for all of them. */
const said = ({ code, message, hint }: Refusal): string[] => [
  code,
  text(message),
  text(hint.split(' Or accept that each transaction')[0]!),
];

function refusedOf(kind: Outcome['kind'], outcomes: Outcomes): readonly (readonly string[])[] {
  return constructs.flatMap(({ name }) => {
    const outcome = outcomes.get(name)!;
    return outcome.kind === kind && outcome.kind !== 'bounded'
      ? [[text(name), ...said(outcome.refusal)]]
      : [];
  });
}

export function constructsDocument({ kinds, unfit, foreignKeys }: Found): string {
  const plain = kinds.get(sourceKinds[0]!.name)!;
  const groups = [...new Set(constructs.map(({ group }) => group))];
  const saying = ['', 'SQLSTATE', 'message', 'hint'];
  return [
    head,
    ...groups.map((group) => matrixOf(group, kinds)),
    `## What is said of those that need full_refresh\n\nBeside the hint, each message ends with the option and the tables to list.\n\n${table([saying, ...refusedOf('all keys', plain)])}`,
    `## What is said of those that are refused\n\n${table([saying, ...refusedOf('refused', plain)])}`,
    `## Sources that are refused\n\n${table([
      saying,
      ...unfitKinds.map(({ name }) => {
        const [first] = [...unfit.get(name)!.values()];
        if (first === undefined || first.kind === 'bounded') throw new Error(`${name} is not refused`);
        return [name, ...said(first.refusal)];
      }),
    ])}`,
    `## Actions of foreign keys

They are statements of PostgreSQL's own, and are captured like any other. A tview of the referring rows beside what they refer to, and one of
the referred ones with all that refer to them, are both in step after:

${table([
  ['', 'DELETE of the row referred to', 'UPDATE of its key'],
  ...foreignKeys.map(({ action, onDelete, onUpdate }) => [action, onDelete, onUpdate]),
])}`,
  ].join('\n');
}

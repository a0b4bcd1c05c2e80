/** `tviews verify [NAME…] [--repair]`: compares tviews with their definitions, row by row, and says what differs. */
import { type Command, InvalidArgumentError } from 'commander';
import { describeConstruction } from '../../database/construction.ts';
import { changedFamilies, describeChange } from '../../database/family.ts';
import { changedDefinitions, describeDefinition } from '../../database/list.ts';
import { loadRegistry } from '../../database/registry.ts';
import { repairPending } from '../../database/repair.ts';
import {
  type Difference,
  type DivergentRow,
  divergentRows,
  type Verification,
  verifyTview,
} from '../../database/verify.ts';
import { onDatabase } from '../database-command.ts';
import { plural, type Surroundings } from '../terminal.ts';

export function addVerify(program: Command, surroundings: Surroundings): void {
  onDatabase<{ repair?: boolean; rows: number; page: number }>(
    program
      .command('verify')
      .description(
        'compare tviews with their definitions, while they are written; exit code 1 when a row differs',
      )
      .argument('[name...]', 'tviews; without a name all')
      .option('--repair', 'mend what differs')
      .option('--rows <count>', 'divergent rows of each tview to show', parseCount(0), 10)
      .option('--page <rows>', 'rows to compare in one statement', parseCount(1), 1000),
    surroundings,
    async (connection, given, { repair, rows, page }, reporter) => {
      const { tviews } = await loadRegistry(connection);
      const building = given.length > 0 ? [] : tviews.filter(({ construction }) => construction !== null);
      const names =
        given.length > 0 ? [...given] : tviews.filter(({ construction }) => construction === null);
      const progress = reporter.progress('Verifying', names.length);
      let pending: Awaited<ReturnType<typeof repairPending>> = { tried: 0, failures: [] };
      const verified: ({ readonly tview: string } & Verification)[] = [];
      const interrupt = new AbortController();
      const letGo = surroundings.onInterrupt(() => interrupt.abort());
      try {
        if (repair === true) pending = await repairPending(connection);
        for (const name of names) {
          if (interrupt.signal.aborted) break;
          const tview = typeof name === 'string' ? name : `${name.schema}.${name.name}`;
          progress.step(tview);
          const result = await verifyTview(connection, name, {
            repair: repair === true,
            pageSize: page,
            rows,
            signal: interrupt.signal,
            cancel: () => connection.cancel(),
            progress: (compared, estimated) => progress.within(estimated === 0 ? 1 : compared / estimated),
          });
          verified.push({ tview, ...result });
        }
      } finally {
        letGo();
        progress.done();
      }
      const families = await changedFamilies(connection);
      const definitions = await changedDefinitions(connection, await loadRegistry(connection));
      const complete = verified.length === names.length && verified.every((one) => one.complete);
      return {
        ok:
          complete &&
          pending.failures.length === 0 &&
          verified.every((one) => divergentRows(one) === 0 || one.repaired !== null),
        data: { complete, verified },
        lines: [
          ...(pending.tried === 0
            ? []
            : [`looked again at what ${plural(pending.tried, 'transaction')} changed that kept a snapshot`]),
          ...pending.failures.map((failure) => `  that fails: ${failure}`),
          ...verified.flatMap(describe),
          ...building.map(
            (tview) =>
              `${tview.schema}.${tview.name}: being built, not compared; ${describeConstruction(tview)}`,
          ),
          ...families.map(describeChange),
          ...definitions.map(describeDefinition),
          ...(complete ? [] : [`stopped: ${verified.length} of ${plural(names.length, 'tview')} begun`]),
        ],
      };
    },
  );
}

function describe(result: { readonly tview: string } & Verification): string[] {
  const { tview, compared, missing, surplus, different, rows, repaired, complete } = result;
  const extent = `${plural(compared, 'row')} compared${complete ? '' : ', then stopped'}`;
  const divergent = divergentRows(result);
  const suspension = result.suspended
    ? [`  It is suspended: "tviews resume ${tview}" brings it in step.`]
    : [];
  if (divergent === 0) return [`${tview}: ${complete ? 'ok, ' : ''}${extent}`, ...suspension];
  const hidden = divergent - rows.length;
  return [
    `${tview}: ${missing} missing, ${surplus} surplus, ${different} different; ${extent}`,
    ...rows.flatMap(describeRow),
    ...(hidden > 0 ? [`  and ${plural(hidden, 'more row')}: --rows shows more`] : []),
    ...(result.unorderedAggregate
      ? ['  HINT: It has an aggregate without ORDER BY: the same rows in another order differ as well.']
      : []),
    ...suspension,
    ...(repaired === null
      ? []
      : [`  repaired: ${plural(repaired.written, 'row')} written, ${repaired.deleted} deleted`]),
  ];
}

function describeRow({ kind, key, differences, more }: DivergentRow): string[] {
  return [
    `  ${kind} ${JSON.stringify(key)}`,
    ...differences.map((difference) => `    ${describeDifference(difference)}`),
    ...(more ? ['    and more'] : []),
  ];
}

function describeDifference({ column, path, reordered, old, expected }: Difference): string {
  const steps = path.map((step) => {
    if (step === null) return '[*]';
    if (typeof step === 'number') return `[${step}]`;
    return /^\w+$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  });
  const place = `${column}${steps.join('')}`;
  if (reordered) return `${place}: the same elements in another order`;
  if (old === expected) return `${place}: ${old} in both, stored differently`;
  const nothing = path.length === 0 ? 'null' : 'nothing';
  return `${place}: ${old ?? nothing} → ${expected ?? nothing}`;
}

const parseCount =
  (least: number) =>
  (text: string): number => {
    const count = Number(text);
    if (!/^\d{1,9}$/.test(text) || count < least) {
      throw new InvalidArgumentError(`It must be a number from ${least}.`);
    }
    return count;
  };

/** `tviews explain NAME`: how changes reach the rows of a tview, what that looks up, locks and costs. */
import type { Command } from 'commander';
import { type Analysis, analyzeTview } from '../../database/analyze.ts';
import { explainTview } from '../../database/explain.ts';
import { onDatabase } from '../database-command.ts';
import { analysisLines, explanationLines } from '../explain-text.ts';
import type { Surroundings } from '../terminal.ts';
import { readName } from '../tview-name.ts';

export function addExplain(program: Command, surroundings: Surroundings): void {
  onDatabase<{ analyze?: boolean }>(
    program
      .command('explain')
      .description('show how changes of the sources reach a tview: paths, key queries, indexes, locks')
      .argument('<name>', 'the tview, as in SQL: shop.tv_product')
      .option(
        '--analyze',
        'also flush one existing row of each source, and roll it back; takes the locks of a flush',
      ),
    surroundings,
    async (connection, [given], { analyze }) => {
      const { schema, name } = await readName(given!);
      const explanation = await explainTview(connection, { schema, name });
      const analysis = analyze === true ? await analyzeTview(connection, { schema, name }) : null;
      return {
        ok: (analysis ?? []).every(isWell),
        data: analysis === null ? explanation : { ...explanation, analysis },
        lines: [...explanationLines(explanation), ...(analysis === null ? [] : analysisLines(analysis))],
      };
    },
  );
}

/** Something that was written had not been in step. */
function isWell({ outcome }: Analysis): boolean {
  if (outcome.kind === 'done') return outcome.written === 0 && outcome.deleted === 0;
  return outcome.kind !== 'failed';
}

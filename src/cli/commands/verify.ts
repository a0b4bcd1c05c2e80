/** `tviews verify [NAME…] [--repair]`: compares tviews with their definitions. */
import type { Command } from 'commander';
import { loadRegistry } from '../../database/registry.ts';
import { verifyTview } from '../../database/verify.ts';
import { onDatabase } from '../database-command.ts';
import { plural, type Surroundings } from '../terminal.ts';

export function addVerify(program: Command, surroundings: Surroundings): void {
  onDatabase<{ repair?: boolean }>(
    program
      .command('verify')
      .description('compare tviews with their definitions; exit code 1 when a row differs')
      .argument('[name...]', 'tviews; without a name all')
      .option('--repair', 'mend what differs'),
    surroundings,
    async (connection, given, { repair }, reporter) => {
      const names =
        given.length > 0
          ? [...given]
          : (await loadRegistry(connection)).tviews.map(({ schema, name }) => ({ schema, name }));
      const progress = reporter.progress('Verifying', names.length);
      const verified = [];
      try {
        for (const name of names) {
          const tview = typeof name === 'string' ? name : `${name.schema}.${name.name}`;
          progress.step(tview);
          verified.push({ tview, ...(await verifyTview(connection, name, { repair: repair === true })) });
        }
      } finally {
        progress.done();
      }
      return {
        ok: verified.every(
          ({ missing, surplus, different, repaired }) =>
            missing + surplus + different === 0 || repaired !== null,
        ),
        data: { verified },
        lines: verified.flatMap((result) => {
          const { tview, missing, surplus, different, sample, repaired, unorderedAggregate } = result;
          if (missing + surplus + different === 0) return [`${tview}: ok`];
          return [
            `${tview}: ${missing} missing, ${surplus} surplus, ${different} different`,
            ...sample.map(({ kind, key }) => `  ${kind} ${JSON.stringify(key)}`),
            ...(unorderedAggregate
              ? [
                  '  HINT: It has an aggregate without ORDER BY: the same rows in another order differ as well.',
                ]
              : []),
            ...(repaired === null
              ? []
              : [`  repaired: ${plural(repaired.written, 'row')} written, ${repaired.deleted} deleted`]),
          ];
        }),
      };
    },
  );
}

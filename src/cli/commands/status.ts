/** `tviews status`: whether schema tviews is there and current, and whether every source is still watched. */
import type { Command } from 'commander';
import { describeConstruction, howToGoOn } from '../../database/construction.ts';
import { describeChange } from '../../database/family.ts';
import { writtenName } from '../../database/identifier.ts';
import { describeDefinition, status } from '../../database/list.ts';
import { display } from '../../definition/refuse.ts';
import { onDatabase } from '../database-command.ts';
import type { Surroundings } from '../terminal.ts';

export function addStatus(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('status')
      .description('show what is installed in a database; exit code 1 when something is wrong'),
    surroundings,
    async (connection) => {
      const found = await status(connection);
      const {
        installed,
        pendingMigrations,
        tviews,
        sources,
        queued,
        toRepair,
        blindTables,
        changedFamilies,
        building,
        suspended,
        moved,
        definitions,
      } = found;
      const isMoved = (name: string): boolean => moved.some(({ tview }) => display(tview) === name);
      if (!installed)
        return { data: found, lines: ['schema     not installed: run "tviews init"'], ok: false };
      return {
        data: found,
        ok:
          pendingMigrations.length === 0 &&
          queued === 0 &&
          toRepair === 0 &&
          blindTables.length === 0 &&
          changedFamilies.length === 0 &&
          suspended.length === 0 &&
          moved.length === 0 &&
          definitions.length === 0,
        lines: [
          `schema     ${pendingMigrations.length === 0 ? 'installed and current' : 'not current: run "tviews init"'}`,
          `tviews     ${tviews}, of ${sources} sources`,
          // Committed rows in the queue would be changes whose flush never ran.
          `queue      ${queued === 0 ? 'empty' : `${queued} changes that no flush took: run "tviews verify --repair"`}`,
          ...(toRepair === 0
            ? []
            : [
                `repair     what ${toRepair} REPEATABLE READ or SERIALIZABLE transactions or changes of the schema have left is to be looked at again: run "tviews verify --repair"`,
              ]),
          ...blindTables.map(
            ({ schema, name, events }) =>
              `unwatched  ${schema}.${name}: ${events.join(', ')} goes unseen; run "tviews init", then "tviews verify --repair"`,
          ),
          ...changedFamilies.map((family) => `family     ${describeChange(family)}`),
          // Nothing is wrong with it: nobody reads it before it is whole, or it has columns more than it had.
          ...building.map(
            (tview) =>
              `building   ${writtenName(tview.construction.becomes)}: ${describeConstruction(tview)}. ${howToGoOn(tview)}`,
          ),
          ...suspended.map(
            ({ schema, name, since }) =>
              `suspended  ${schema}.${name}, since ${since.toISOString()}: stale until "tviews resume ${writtenName({ schema, name })}"`,
          ),
          ...moved.map(
            ({ tview, was, now }) =>
              `moved      ${was.schema}.${was.name} of tview ${tview.schema}.${tview.name} ${now === null ? 'does not exist any more: drop or replace the tview' : `is ${now.schema}.${now.name} now: run "tviews init"`}`,
          ),
          ...definitions
            // Said above, and nothing else is the matter.
            .filter(({ tview, problem }) => problem !== null || !isMoved(display(tview)))
            .map((definition) => `definition ${describeDefinition(definition)}`),
        ],
      };
    },
  );
}

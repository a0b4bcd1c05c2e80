/** `tviews check-config FILE`: reads a configuration as the proxy would and lists everything that is wrong with it. */
import type { Command } from 'commander';
import { examineSettings } from '../../config/load.ts';
import { printPlace } from '../../config/problem.ts';
import { plural, runCommand, type Surroundings } from '../terminal.ts';

export function addCheckConfig(program: Command, surroundings: Surroundings): void {
  program
    .command('check-config')
    .description('read a configuration file and list everything that is wrong with it')
    .argument('<file>', 'a file with the syntax of pgbouncer.ini')
    .option('--json', 'print one JSON document')
    .action((file: string, options: { json?: boolean }) =>
      runCommand(surroundings, options.json === true, async () => {
        const { settings, problems } = examineSettings({ file, env: surroundings.env });
        const databases = [
          ...settings.databases.keys(),
          ...(settings.fallbackDatabase === null ? [] : ['*']),
        ];
        return {
          ok: problems.length === 0,
          data: {
            file,
            problems: problems.map(({ place, message, hint }) => ({
              place: printPlace(place),
              message,
              hint,
            })),
            databases,
          },
          lines:
            problems.length === 0
              ? [`${file}: ok, ${plural(databases.length, 'database')} (${databases.join(', ')})`]
              : problems.flatMap(({ place, message, hint }) => [
                  `${printPlace(place)}: ${message}`,
                  ...(hint === undefined ? [] : [`  HINT: ${hint}`]),
                ]),
        };
      }),
    );
}

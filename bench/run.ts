/** `node bench/run.ts NAME [options]`: runs one benchmark, keeps its result as JSON, writes the tables of README.md anew. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { benchmarks } from './benchmarks.ts';
import { writeReadme } from './readme.ts';

export const resultsFolder: string = join(import.meta.dirname, 'results');

// As an ordinary exit, so that what was started is stopped.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const [name = '', ...parameters] = process.argv.slice(2);
const benchmark = benchmarks.find((candidate) => candidate.name === name);
if (name === 'readme') {
  writeReadme(resultsFolder);
} else if (benchmark === undefined) {
  const known = benchmarks.map((candidate) => `  ${candidate.name.padEnd(12)} ${candidate.title}`).join('\n');
  process.stderr.write(
    `usage: node bench/run.ts NAME [--dry] [options]\n\n${known}\n  readme       only the tables, from the results there are\n`,
  );
  process.exitCode = 2;
} else {
  const dry = parameters.includes('--dry');
  const keep = (result: unknown): void => {
    if (dry) return;
    mkdirSync(resultsFolder, { recursive: true });
    writeFileSync(join(resultsFolder, `${name}.json`), `${JSON.stringify(result, null, 1)}\n`);
    writeReadme(resultsFolder);
  };
  const result = await benchmark.run(
    parameters.filter((parameter) => parameter !== '--dry'),
    (line) => process.stderr.write(`${line}\n`),
    keep,
  );
  process.stdout.write(`${benchmark.render(result)}\n`);
  keep(result);
}

/**
 * Writes the files that are made from code: docs/settings.md, docs/metrics.md and config/tviews.ini. With --check it changes nothing and
 * fails when a file is not what it would write.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exampleFile, settingsDocument } from '../src/config/document.ts';
import { metricsDocument } from '../src/observe/declarations.ts';

const root = join(import.meta.dirname, '..');
const files: Readonly<Record<string, () => string>> = {
  'docs/metrics.md': metricsDocument,
  'docs/settings.md': settingsDocument,
  'config/tviews.ini': exampleFile,
};
const check = process.argv.includes('--check');

for (const [name, make] of Object.entries(files)) {
  const path = join(root, name);
  const text = make();
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (check) {
    console.error(`${name} is not up to date; run "npm run generate"`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${name}`);
  }
}

/**
 * Prints `N passed, N failed` from the reports of vitest's JSON reporter given as arguments. Fails when a test failed,
 * when a file could not be loaded, or when no test ran at all: a green run that tested nothing is the worst of all.
 */
import { existsSync, readFileSync } from 'node:fs';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly unknown[];
  }[];
}

let passed = 0;
let failed = 0;
let sound = process.argv.length > 2;
for (const file of process.argv.slice(2)) {
  if (!existsSync(file)) {
    console.error(`${file} is missing: the tests ended before their report was written`);
    sound = false;
    continue;
  }
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  // A file that does not load has no tests; it counts as one failure.
  failed += report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  ).length;
  sound &&= report.success;
}
console.log(`${passed} passed, ${failed} failed`);
if (!sound || failed > 0 || passed === 0) process.exitCode = 1;

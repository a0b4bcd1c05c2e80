/** Runs fast-check properties so that a failure can be run again: the seed comes from TVIEWS_TEST_SEED or is printed. */
import fc from 'fast-check';

/** The seed of this run, the same for every property of it. */
export const seed = Number(process.env.TVIEWS_TEST_SEED ?? Math.floor(Math.random() * 0x7fffffff));

/** Checks a property; a failure names the seed, the path to the shrunk case and the case. */
export async function check<Inputs extends unknown[]>(
  property: fc.IAsyncProperty<Inputs> | fc.IProperty<Inputs>,
  parameters: fc.Parameters<Inputs> = {},
): Promise<void> {
  const result = await fc.check(property as fc.IAsyncProperty<Inputs>, { seed, ...parameters });
  if (!result.failed) return;
  const again = `TVIEWS_TEST_SEED=${result.seed}${
    result.counterexamplePath === null ? '' : ` and { path: '${result.counterexamplePath}' }`
  }`;
  throw new Error(`${fc.defaultReportMessage(result) ?? 'property failed'}\nRun again with ${again}`, {
    cause: 'errorInstance' in result ? result.errorInstance : undefined,
  });
}

/** Turns shapes into tests: each under every level and protocol, and each without the locks that guard it. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { byEffort, isLong } from '../../kit/effort.ts';
import { seed } from '../../kit/seed.ts';
import { type Arena, openArena } from './arena.ts';
import { chooseInterleavings, everyInterleaving } from './interleavings.ts';
import { type Locking, type LockProtocol, nameOf, protocols } from './locking.ts';
import { type Outcome, runInterleaving } from './run.ts';
import type { Level, Shape } from './shape.ts';

if (isLong) vi.setConfig({ testTimeout: 3_600_000 });

/** `<shape>|<levels>|<locks>|<interleaving>`, as a failure prints it: runs this one alone. */
const alone = process.env.TVIEWS_TEST_INTERLEAVING;

const committed: Level = 'READ COMMITTED';
const repeatable: Level = 'REPEATABLE READ';
const serializable: Level = 'SERIALIZABLE';

/** For each session of a shape a level: all the same, and mixed; a usual run mixes them under the default protocol alone. */
function combinations({ sessions }: Shape, protocol: LockProtocol): Level[][] {
  const same = [committed, repeatable, serializable].map((level) => sessions.map(() => level));
  const mixed: Level[][] =
    sessions.length === 2
      ? [
          [committed, repeatable],
          [repeatable, committed],
          [committed, serializable],
          [serializable, committed],
          [repeatable, serializable],
          [serializable, repeatable],
        ]
      : [
          [committed, repeatable, serializable],
          [serializable, committed, repeatable],
          [repeatable, serializable, committed],
        ];
  const distinct = new Map<string, Level[]>();
  // One that is run again by its name may be from a thorough run.
  const isMixed = protocol === protocols[0] || alone !== undefined || byEffort(false, true);
  for (const levels of isMixed ? [...same, ...mixed] : same) {
    const real = sessions.map(({ level }, place) => level ?? levels[place]!);
    distinct.set(levelsOf(real), real);
  }
  return [...distinct.values()];
}

function levelsOf(levels: readonly Level[]): string {
  return new Set(levels).size === 1 ? levels[0]! : levels.join(', ');
}

export function checkShapes(shapes: readonly Shape[]): void {
  let arena: Arena;
  beforeAll(async () => {
    arena = await openArena();
  });
  afterAll(() => arena.close());

  for (const shape of shapes)
    describe(shape.name, () => {
      const wanted = alone?.split('|');
      const isWanted = (levels: readonly Level[], locking: Locking): boolean =>
        wanted === undefined ||
        [shape.name, levelsOf(levels), nameOf(locking)].every((s, i) => s === wanted[i]);
      beforeAll(() => arena.begin(shape));
      afterAll(() => arena.end());

      for (const protocol of protocols) {
        const locking: Locking = { protocol, omitted: [] };
        for (const levels of combinations(shape, protocol)) {
          test.runIf(isWanted(levels, locking))(`${levelsOf(levels)}, ${nameOf(locking)}`, async () => {
            await arena.lockWith(locking);
            await staysInStep(arena, shape, levels, locking, wanted?.[3]);
          });
        }
        for (const omitted of guardsOf(shape, protocol)) {
          const without: Locking = { protocol, omitted };
          test.runIf(wanted === undefined)(`goes stale with ${nameOf(without)}`, async () => {
            await arena.lockWith(without);
            expect(await findStale(arena, shape)).not.toBeNull();
          });
        }
      }
    });
}

const guardsOf = (shape: Shape, protocol: LockProtocol): Shape['guards'] =>
  protocol === 'value' || shape.guards.length === 0 ? shape.guards : [['tview']];

/**
 * So many interleavings each test runs; all of them with TVIEWS_TEST_EFFORT=long. Under READ COMMITTED locks keep a
 * tview in step, so there it is all of most shapes; above it, a conflict that nearly every one of them has.
 */
function boundOf(shape: Shape, levels: readonly Level[], { protocol }: Locking): number {
  const asMany = levels.every((level) => level === committed) || shape.isAboutSnapshots === true;
  const usual = asMany ? byEffort(2, 12) : new Set(levels).size === 1 ? byEffort(2, 4) : 2;
  return Math.min(shape.bound ?? usual, protocol === protocols[0] ? usual : Math.ceil(usual / 4));
}

const stepsOf = ({ sessions }: Shape): number[] => sessions.map(({ steps }) => steps.length);

async function staysInStep(
  arena: Arena,
  shape: Shape,
  levels: readonly Level[],
  locking: Locking,
  only: string | undefined,
): Promise<void> {
  const interleavings =
    only !== undefined
      ? [only]
      : isLong
        ? everyInterleaving(stepsOf(shape))
        : chooseInterleavings(stepsOf(shape), boundOf(shape, levels, locking), seed);
  const impossible = new Set<string>();
  let [ran, wentThrough] = [0, 0];
  for (const interleaving of interleavings) {
    if (beginsWithOne(impossible, interleaving)) continue;
    const outcome = await runOne(arena, shape, levels, interleaving);
    const wrong = [...outcome.verdict, ...unexpectedErrors(shape, levels, outcome)];
    if (wrong.length > 0) {
      const name = [shape.name, levelsOf(levels), nameOf(locking), interleaving].join('|');
      throw new Error(
        `${wrong.join('\n')}\n\n${outcome.history.join('\n')}\n\nRun again with TVIEWS_TEST_INTERLEAVING=${quoted(name)}`,
      );
    }
    if (outcome.impossible !== null) impossible.add(outcome.impossible);
    if (outcome.errors.every((error) => error === null)) wentThrough += 1;
    ran += 1;
  }
  // Such a run takes minutes to hours, of which vitest says nothing before the end of a file.
  if (isLong)
    console.log(`${shape.name}, ${levelsOf(levels)}, ${nameOf(locking)}: ${ran} interleavings, none stale`);
  // Not where one was asked for.
  if (only === undefined) expect(wentThrough).toBeGreaterThan(0);
}

/** The first interleaving that leaves a tview stale. */
async function findStale(arena: Arena, shape: Shape): Promise<string | null> {
  for (const interleaving of everyInterleaving(stepsOf(shape))) {
    const { verdict } = await runOne(
      arena,
      shape,
      shape.sessions.map(() => committed),
      interleaving,
    );
    if (verdict.some((line) => line.includes('is stale'))) return interleaving;
  }
  return null;
}

async function runOne(
  arena: Arena,
  shape: Shape,
  levels: readonly Level[],
  interleaving: string,
): Promise<Outcome> {
  await arena.reset(shape);
  return await runInterleaving(arena, shape, levels, interleaving);
}

/** Another interleaving, without what no client can do, comes to the same. */
function beginsWithOne(beginnings: ReadonlySet<string>, interleaving: string): boolean {
  for (let length = 1; length <= interleaving.length; length++) {
    if (beginnings.has(interleaving.slice(0, length))) return true;
  }
  return false;
}

function unexpectedErrors(shape: Shape, levels: readonly Level[], { errors }: Outcome): string[] {
  return errors.flatMap((error, place) => {
    if (error === null || shape.errors?.includes(error)) return [];
    if (error === '40001' && levels[place] !== committed) return [];
    return [`session ${'abcdefgh'[place]} failed with ${error}`];
  });
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * Every construct over every kind of source: accepted and kept in step, or refused with a way out; and docs/constructs.md, which says
 * so. After a change that is meant: `npx vitest run --project integration test/integration/constructs -u`. With TVIEWS_TEST_EFFORT=long every cell is
 * written to; without, what that takes longest for is only compiled.
 */
import { expect, inject, test } from 'vitest';
import { isLong } from '../../kit/effort.ts';
import { constructs } from './constructs.ts';
import { constructsDocument } from './document.ts';
import { foreignKeyOutcomes } from './foreign-keys.ts';
import { type Outcomes, outcomesOver, refusalsOver } from './matrix.ts';
import { sourceKinds, unfitKinds } from './sources.ts';

const timeout = 900_000;
const serverVersion = inject('serverVersion');
/** The document is of this one; others lack some constructs, and word some messages differently. */
const documented = 18;

const kinds = new Map<string, Outcomes>();
let unfit: ReadonlyMap<string, Outcomes> = new Map();

/** What is installed grows with each tview: where most constructs are played, they are dealt out to several databases. */
const parts = sourceKinds.flatMap((kind) => {
  const databases = kind.isPlayedWithAll === true || isLong ? 3 : 1;
  return Array.from({ length: databases }, (_, part) => ({
    name: `${kind.name}, ${part + 1} of ${databases}`,
    kind,
    part: constructs.filter((_construct, place) => place % databases === part),
  }));
});

test.concurrent.for(parts)('over $name', { timeout }, async ({ kind, part }) => {
  const outcomes = await outcomesOver(kind, part, serverVersion);
  kinds.set(kind.name, new Map([...(kinds.get(kind.name) ?? []), ...outcomes]));
});

test.concurrent('no construct reads what goes unwatched', { timeout }, async () => {
  unfit = await refusalsOver(unfitKinds, serverVersion);
  for (const [kind, outcomes] of unfit) {
    for (const [name, outcome] of outcomes) {
      expect(outcome, `${name} over ${kind}`).toMatchObject({ kind: 'refused', refusal: { code: '0A000' } });
    }
  }
});

test('docs/constructs.md says what has been found', { timeout }, async ({ skip }) => {
  if (serverVersion !== documented) skip(`it is of PostgreSQL ${documented}`);
  const found = [...kinds.values()].reduce((sum, { size }) => sum + size, 0);
  if (found < sourceKinds.length * constructs.length || unfit.size === 0)
    skip('not all of it has been looked at');
  const document = constructsDocument({ kinds, unfit, foreignKeys: await foreignKeyOutcomes() });
  await expect(document).toMatchFileSnapshot('../../../docs/constructs.md');
});

/** The decision about a statement, on every combination of what can be known: the obligations, not the code again. */
import { describe, expect, test } from 'vitest';
import { type Preparation, prepare, type Situation } from '../../../../proxy/relay/decide.ts';
import { StatementClass } from '../../../../proxy/statements/classify.ts';
import { TransactionStatus } from '../../../../proxy/wire/codes.ts';

interface Facts {
  readonly class: StatementClass;
  readonly single: boolean;
  readonly source: boolean;
  readonly tview: boolean;
}

const both = [false, true] as const;
const cases: { readonly now: Situation; readonly facts: Facts; readonly decided: Preparation }[] = [];
for (const status of Object.values(TransactionStatus))
  for (const deaf of both)
    for (const running of [0, 1, 3])
      for (const [claimed, mayBeClaimed] of [
        [false, false],
        [false, true],
        [true, true],
      ] as const)
        for (const [pending, mayOwe] of [
          [false, false],
          [false, true],
          [true, true],
        ] as const)
          for (const flushed of both)
            for (const statementClass of Object.values(StatementClass))
              for (const single of both)
                for (const source of both)
                  for (const tview of both) {
                    const now = { status, deaf, running, claimed, mayBeClaimed, pending, mayOwe, flushed };
                    const facts = { class: statementClass, single, source, tview };
                    const decided = prepare(now, {
                      class: statementClass,
                      isSingle: () => single,
                      namesSource: () => source,
                      namesTview: () => tview,
                    });
                    cases.push({ now, facts, decided });
                  }

const inBlock = ({ now }: (typeof cases)[number]): boolean =>
  now.status === TransactionStatus.inTransaction && !now.deaf;
const mayEnd = ({ facts }: (typeof cases)[number]): boolean =>
  !facts.single ||
  facts.class === StatementClass.Commit ||
  facts.class === StatementClass.PrepareTransaction ||
  facts.class === StatementClass.Opaque;
const reads = ({ facts }: (typeof cases)[number]): boolean =>
  facts.single &&
  facts.tview &&
  (facts.class === StatementClass.Read ||
    facts.class === StatementClass.Write ||
    facts.class === StatementClass.Forget);

const all = (which: (one: (typeof cases)[number]) => boolean, allowed: readonly Preparation[]): void => {
  const some = cases.filter(which);
  expect(some.length).toBeGreaterThan(0);
  expect(some.filter(({ decided }) => !allowed.includes(decided))).toEqual([]);
};

describe('in every situation', () => {
  test('what may end a transaction that is claimed or owes is settled first, or waits', () => {
    all(
      (one) => inBlock(one) && (one.now.mayBeClaimed || one.now.pending) && mayEnd(one),
      ['settle', 'settle-first', 'wait'],
    );
  });

  test('only what is certain to be a COMMIT or a PREPARE TRANSACTION goes out with its settlement', () => {
    for (const { decided, facts } of cases) {
      if (decided !== 'settle') continue;
      expect([StatementClass.Commit, StatementClass.PrepareTransaction]).toContain(facts.class);
      expect(facts.single).toBe(true);
    }
  });

  test('nothing of ours is sent behind statements that are still running', () => {
    all(({ now }) => now.running > 0, ['nothing', 'wait']);
  });

  test('behind a ROLLBACK TO that may be running, what would end a transaction that remembers anything waits', () => {
    all(
      (one) =>
        !one.now.deaf &&
        one.now.status !== TransactionStatus.idle &&
        one.now.running > 0 &&
        (one.now.mayBeClaimed || one.now.pending || one.now.flushed) &&
        (mayEnd(one) || reads(one)),
      ['wait'],
    );
  });

  test('a claim is taken in a transaction only, for one statement that writes a source, with nothing running', () => {
    for (const one of cases) {
      if (one.decided !== 'claim') continue;
      expect(inBlock(one)).toBe(true);
      expect(one.now.running).toBe(0);
      expect(one.now.claimed).toBe(false);
      expect(one.facts).toMatchObject({ class: StatementClass.Write, single: true, source: true });
    }
    expect(cases.some(({ decided }) => decided === 'claim')).toBe(true);
  });

  test('a read of a tview behind changes of the same transaction, known or possible, is preceded by their flush', () => {
    all((one) => inBlock(one) && one.now.mayOwe && reads(one) && one.now.running === 0, ['flush']);
  });

  test('what only the queue may hold keeps nobody from ending the transaction: COMMIT flushes the queue', () => {
    all(
      (one) =>
        inBlock(one) && !one.now.mayBeClaimed && !one.now.pending && one.now.running === 0 && mayEnd(one),
      ['nothing', 'claim'],
    );
  });

  test('outside a transaction, and where the server does not listen, nothing is done', () => {
    all(({ now }) => now.deaf || now.status === TransactionStatus.idle, ['nothing']);
  });

  test('in a failed transaction nothing is sent', () => {
    all(({ now }) => now.status === TransactionStatus.failed, ['nothing', 'wait']);
    all(({ now }) => now.status === TransactionStatus.failed && now.running === 0, ['nothing']);
  });

  test('a session that never touched a source is never held up', () => {
    all(({ now, facts }) => !now.mayBeClaimed && !now.mayOwe && !now.flushed && !facts.source, ['nothing']);
  });

  test('a wait ends: with nothing running nothing waits', () => {
    for (const { now, decided } of cases) if (decided === 'wait') expect(now.running).toBeGreaterThan(0);
  });
});

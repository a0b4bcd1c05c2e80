/** The queue of requests against an array that does the same naively. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Action, Kind, type Note, RequestQueue } from '../../../../proxy/relay/requests.ts';

const note = (n: number): Note => ({ kind: 'flush', trigger: 'read', startedAt: n });

interface Entry {
  readonly kind: Kind;
  readonly action: Action;
  readonly note: Note | null;
}

const kind = fc.constantFrom(...Object.values(Kind).filter((value) => value !== Kind.CopyEnd));
const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constant('push' as const), kind, fc.constantFrom(...Object.values(Action))),
  },
  { weight: 1, arbitrary: fc.constant(['copy end'] as const) },
  { weight: 4, arbitrary: fc.constant(['pop'] as const) },
  { weight: 1, arbitrary: fc.constant(['drop to sync'] as const) },
  { weight: 1, arbitrary: fc.constant(['copy begins'] as const) },
);

const isRunning = ({ kind, action }: Entry): boolean =>
  action === Action.Forward && (kind === Kind.Query || kind === Kind.Execute || kind === Kind.FunctionCall);

function expectSame(queue: RequestQueue, model: readonly Entry[]): void {
  expect(queue.size).toBe(model.length);
  expect(queue.headKind).toBe(model[0]?.kind);
  expect(queue.headAction).toBe(model[0]?.action);
  expect(queue.headNote).toBe(model[0]?.note ?? null);
  expect(queue.running).toBe(model.filter(isRunning).length);
  expect(queue.syncs).toBe(model.filter((entry) => entry.kind === Kind.Sync).length);
}

describe('the queue', () => {
  test('is an array with a head, however far it goes round and grows', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 400, size: 'max' }), (acts) => {
        const queue = new RequestQueue();
        let model: Entry[] = [];
        let count = 0;
        const pop = (): void => {
          model.shift();
          while (model[0]?.kind === Kind.CopyEnd) model.shift();
        };
        for (const [what, ...rest] of acts) {
          if (what === 'push' || (what === 'copy end' && model.length > 0)) {
            count += 1;
            const [kind, action] =
              what === 'push' ? (rest as [Kind, Action]) : [Kind.CopyEnd, Action.Forward];
            const noted = count % 3 === 0 ? note(count) : null;
            queue.push(kind, action, noted);
            model.push({ kind, action, note: noted });
          } else if (what === 'pop' && model.length > 0) {
            queue.pop();
            pop();
          } else if (what === 'drop to sync') {
            const expected: Note[] = [];
            while (model.length > 0 && model[0]!.kind !== Kind.Sync) {
              if (model[0]!.note !== null) expected.unshift(model[0]!.note);
              pop();
            }
            const dropped: Note[] = [];
            queue.dropToSync((note) => dropped.push(note));
            expect(dropped).toEqual(expected);
          } else if (what === 'copy begins' && model.length > 0) {
            const end = model.findIndex((entry, index) => index > 0 && entry.kind === Kind.CopyEnd);
            expect(queue.dropSyncsOfCopy()).toBe(end > 0);
            model = model.filter(
              (entry, index) =>
                index === 0 || (index !== end && (entry.kind !== Kind.Sync || (end > 0 && index > end))),
            );
          }
          expectSame(queue, model);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('keeps its order when it grows with its head in the middle', () => {
    const queue = new RequestQueue();
    for (let n = 0; n < 50; n += 1) queue.push(Kind.Parse, Action.Forward, note(n));
    for (let n = 0; n < 40; n += 1) queue.pop();
    for (let n = 50; n < 500; n += 1) queue.push(Kind.Parse, Action.Forward, note(n));
    for (let n = 40; n < 500; n += 1) {
      expect(queue.headNote).toEqual(note(n));
      queue.pop();
    }
    expect(queue.size).toBe(0);
  });
});

/** What a session owes, against a model that forgets nothing too early: an array of everything that ever happened. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Change, everythingOf, QUEUED } from '../../../src/refresh/change.ts';
import { RefreshState } from '../../../src/refresh/state.ts';

interface Model {
  /** What the proxy has asked for last; `perhaps` once a ROLLBACK TO may have changed it. */
  claim: 'none' | 'held' | 'perhaps' | 'given back';
  /** Something ran unclaimed since the last flush. */
  unseen: boolean;
  /** Not flushed yet. */
  pending: string[];
  /** Everything added since the transaction began. */
  ever: Set<string>;
  flushed: Set<string>;
}

interface Real {
  readonly state: RefreshState;
}

type Step = fc.Command<Model, Real>;

const endOf = (model: Model): void => {
  model.claim = 'none';
  model.unseen = false;
  model.ever = new Set(model.pending);
  model.flushed = new Set();
};

const newModel = (): Model => ({
  claim: 'none',
  unseen: false,
  pending: [],
  ever: new Set(),
  flushed: new Set(),
});

/** A command that can always be run; afterwards everything that can be seen must agree. */
const step = (name: string, run: (model: Model, state: RefreshState) => void): Step => ({
  check: () => true,
  run: (model, { state }) => {
    run(model, state);
    expect(state.claimed).toBe(model.claim === 'held');
    expect(state.mayBeClaimed).toBe(model.claim === 'held' || model.claim === 'perhaps');
    expect(state.hasPending).toBe(model.pending.length > 0);
    expect(state.pendingCount).toBe(model.pending.length);
    expect(state.pendingBytes).toBe(model.pending.reduce((sum, text) => sum + text.length, 0));
    expect(state.hasFlushed).toBe(model.flushed.size > 0);
    expect(state.mayOwe).toBe(model.unseen || model.pending.length > 0);
    expect(state.isEmpty).toBe(
      model.claim === 'none' && !model.unseen && model.pending.length === 0 && model.flushed.size === 0,
    );
    // The obligation: what was added since the transaction began is pending or remembered as flushed.
    for (const change of model.ever)
      expect(model.pending.includes(change) || model.flushed.has(change)).toBe(true);
  },
  toString: () => name,
});

const changes: readonly Change[] = [
  everythingOf(1),
  { source: 2, text: '{"r": [1], "s": 2}' },
  { source: 2, text: '{"r": [2], "s": 2}' },
  { source: 3, text: '{"r": ["\\u00e9"], "s": 3}' },
];

const steps = [
  fc.constantFrom(...changes).map((change) =>
    step(`add ${change.text}`, (model, state) => {
      state.add(change);
      if (!model.pending.includes(change.text)) model.pending.push(change.text);
      model.ever.add(change.text);
    }),
  ),
  fc.constant(
    step('claim', (model, state) => {
      state.claim();
      model.claim = 'held';
    }),
  ),
  fc.constant(
    step('release', (model, state) => {
      state.release();
      if (model.claim !== 'none') model.claim = 'given back';
    }),
  ),
  fc.constant(
    step('ranUnclaimed', (model, state) => {
      state.ranUnclaimed();
      model.unseen = true;
    }),
  ),
  fc.constant(
    step('takePending', (model, state) => {
      // The queue is asked for like a change of its own.
      if (model.unseen && !model.pending.includes(QUEUED.text)) model.pending.push(QUEUED.text);
      if (model.unseen) model.ever.add(QUEUED.text);
      model.unseen = false;
      expect(JSON.parse(state.takePending())).toEqual(model.pending.map((text) => JSON.parse(text)));
      for (const change of model.pending) model.flushed.add(change);
      model.pending = [];
    }),
  ),
  fc.constant(
    step('rollbackTo', (model, state) => {
      state.rollbackTo();
      for (const change of model.flushed) if (!model.pending.includes(change)) model.pending.push(change);
      model.flushed = new Set();
      // The savepoint may be older than the claim, or than its release.
      if (model.claim !== 'none') model.claim = 'perhaps';
      expect(new Set(model.pending)).toEqual(model.ever);
    }),
  ),
  fc.constant(
    step('committed', (model, state) => {
      state.committed();
      endOf(model);
    }),
  ),
  fc.constant(
    step('clear', (model, state) => {
      state.clear();
      model.pending = [];
      endOf(model);
    }),
  ),
];

describe('whatever happens in whatever order', () => {
  test('nothing is owed too little, nothing twice, and only a session that owes nothing is empty', () => {
    fc.assert(
      fc.property(fc.commands(steps, { maxCommands: 60 }), (commands) => {
        fc.modelRun(
          () => ({
            model: newModel(),
            real: { state: new RefreshState(1_000_000) },
          }),
          commands,
        );
      }),
      { numRuns: 300 },
    );
  });
});

test('a rolled-back savepoint leaves its changes pending, flushed or not, and nobody knows of the claim', () => {
  const state = new RefreshState(1_000);
  state.claim();
  state.add(everythingOf(1));
  state.takePending();
  state.add(everythingOf(2));
  state.rollbackTo();
  expect(state.claimed).toBe(false);
  expect(state.mayBeClaimed).toBe(true);
  expect(state.takePending()).toBe('[{"s": 2, "all": true},{"s": 1, "all": true}]');
});

describe('more changes than a session remembers', () => {
  const many = (source: number): Change[] =>
    Array.from({ length: 100 }, (_, id) => ({ source, text: `{"r": [{"id": ${id}}], "s": ${source}}` }));

  test('become "every row" of their sources, pending or flushed', () => {
    const state = new RefreshState(200);
    for (const change of [...many(1), ...many(2)]) state.add(change);
    const all = [everythingOf(1), everythingOf(2)].map(({ text }) => text);
    for (const text of JSON.parse(state.takePending()) as { all?: true }[]) expect(text).toHaveProperty('s');
    for (const change of many(1)) {
      state.add(change);
      state.takePending();
    }
    state.rollbackTo();
    const pending = state.takePending();
    for (const text of all) expect(pending).toContain(text);
    expect(pending.length).toBeLessThan(400);
  });

  test('of more sources than can be, are refused', () => {
    const state = new RefreshState(200);
    expect(() => {
      for (let source = 1; source <= 100; source++) state.add(everythingOf(source));
    }).toThrow('too many changes');
  });
});

/** What a session owes, against a model that forgets nothing too early: an array of everything that ever happened. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RefreshState } from '../../../src/refresh/state.ts';

interface Model {
  claimed: boolean;
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
  model.claimed = false;
  model.unseen = false;
  model.ever = new Set(model.pending);
  model.flushed = new Set();
};

/** A command that can always be run; afterwards everything that can be seen must agree. */
const step = (name: string, run: (model: Model, state: RefreshState) => void): Step => ({
  check: () => true,
  run: (model, { state }) => {
    run(model, state);
    expect(state.claimed).toBe(model.claimed);
    expect(state.hasPending).toBe(model.pending.length > 0);
    expect(state.pendingCount).toBe(model.pending.length);
    expect(state.pendingBytes).toBe(model.pending.reduce((sum, text) => sum + text.length, 0));
    expect(state.hasFlushed).toBe(model.flushed.size > 0);
    expect(state.mayOwe).toBe(model.unseen || model.pending.length > 0);
    expect(state.isEmpty).toBe(
      !model.claimed && !model.unseen && model.pending.length === 0 && model.flushed.size === 0,
    );
    // The obligation: what was added since the transaction began is pending or remembered as flushed.
    for (const change of model.ever)
      expect(model.pending.includes(change) || model.flushed.has(change)).toBe(true);
  },
  toString: () => name,
});

const queued = '{"queued": true}';
const changes = ['{"s": 1, "all": true}', '{"s": 2, "r": [1]}', '{"s": 2, "r": [2]}', '{"s": 3, "r": ["é"]}'];

const steps = [
  fc.constantFrom(...changes).map((change) =>
    step(`add ${change}`, (model, state) => {
      state.add(change);
      if (!model.pending.includes(change)) model.pending.push(change);
      model.ever.add(change);
    }),
  ),
  fc.constant(
    step('claim', (model, state) => {
      state.claim();
      model.claimed = true;
    }),
  ),
  fc.constant(
    step('release', (model, state) => {
      state.release();
      model.claimed = false;
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
      if (model.unseen && !model.pending.includes(queued)) model.pending.push(queued);
      if (model.unseen) model.ever.add(queued);
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
      model.claimed = false;
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
  fc.constant(
    step('rewrite', (model, state) => {
      const wider = (text: string): string => (text.includes('é') ? '{"s": 3, "all": true}' : text);
      state.rewrite(wider);
      model.pending = [...new Set(model.pending.map(wider))];
      model.ever = new Set([...model.ever].map(wider));
      model.flushed = new Set([...model.flushed].map(wider));
    }),
  ),
];

describe('whatever happens in whatever order', () => {
  test('nothing is owed too little, nothing twice, and only a session that owes nothing is empty', () => {
    fc.assert(
      fc.property(fc.commands(steps, { maxCommands: 60 }), (commands) => {
        fc.modelRun(
          () => ({
            model: {
              claimed: false,
              unseen: false,
              pending: [],
              ever: new Set<string>(),
              flushed: new Set<string>(),
            },
            real: { state: new RefreshState() },
          }),
          commands,
        );
      }),
      { numRuns: 300 },
    );
  });
});

test('a rolled-back savepoint leaves its changes pending, flushed or not, and the claim is gone', () => {
  const state = new RefreshState();
  state.claim();
  state.add('{"s": 1, "all": true}');
  state.takePending();
  state.add('{"s": 2, "all": true}');
  state.rollbackTo();
  expect(state.claimed).toBe(false);
  expect(state.takePending()).toBe('[{"s": 2, "all": true},{"s": 1, "all": true}]');
});

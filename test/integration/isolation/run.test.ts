/** The runner itself: that it sees who waits, that it finds what is wrong, and that it leaves nothing behind. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Arena, openArena } from './arena.ts';
import { blog, userWithPosts } from './blog.ts';
import { chooseInterleavings, countInterleavings, everyInterleaving } from './interleavings.ts';
import { runInterleaving } from './run.ts';
import { flush, type Level, type Session, type Shape, session, writer } from './shape.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await openArena();
});
afterEach(() => arena.end());
afterAll(() => arena.close());

const levels: Level[] = ['READ COMMITTED', 'READ COMMITTED'];

async function run(sessions: readonly Session[], interleaving: string, more: Partial<Shape> = {}) {
  const shape: Shape = {
    name: 'trial',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    guards: [],
    ...more,
    sessions,
  };
  await arena.begin(shape);
  await arena.reset(shape);
  return await runInterleaving(arena, shape, levels, interleaving);
}

test('interleavings are counted, listed, and chosen the same by the same seed', () => {
  expect([...everyInterleaving([2, 1])]).toEqual(['aab', 'aba', 'baa']);
  for (const steps of [[3, 3], [1, 2, 3], [4], [2, 2, 2]]) {
    const all = [...everyInterleaving(steps)];
    expect(all).toHaveLength(countInterleavings(steps));
    expect(new Set(all).size).toBe(all.length);
  }
  const some = chooseInterleavings([3, 3, 3], 20, 7);
  expect(some).toHaveLength(20);
  expect(some).toEqual(chooseInterleavings([3, 3, 3], 20, 7));
  expect(some).not.toEqual(chooseInterleavings([3, 3, 3], 20, 8));
  expect(some).toContain('aaabbbccc');
});

test('a session that waits goes on when it comes free, and its steps in their order', async () => {
  const outcome = await run(
    [
      session([`UPDATE tb_user SET name = 'a' WHERE id = 1`, 'COMMIT']),
      session([`UPDATE tb_user SET name = 'b' WHERE id = 1`, flush, 'COMMIT']),
    ],
    'abbba',
  );
  expect(outcome).toEqual({
    verdict: [],
    errors: [null, null],
    impossible: 'abb',
    history: [
      `a: UPDATE tb_user SET name = 'a' WHERE id = 1`,
      `b: UPDATE tb_user SET name = 'b' WHERE id = 1`,
      'a: COMMIT',
      'b goes on',
      'b: flush',
      'b: COMMIT',
    ],
  });
});

test('a flush that waits for another is seen to wait', async () => {
  const outcome = await run(
    [writer(`INSERT INTO tb_post VALUES (8, 1, 'new')`), writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`)],
    'abababb',
  );
  expect(outcome).toMatchObject({ verdict: [], errors: [null, null], impossible: null });
  expect(outcome.history.slice(-3)).toEqual(['a: COMMIT', 'b goes on', 'b: COMMIT']);
});

test('of a deadlock one goes through', async () => {
  const update = (id: number) => `UPDATE tb_user SET name = name || '!' WHERE id = ${id}`;
  const outcome = await run([writer(update(1), update(2)), writer(update(2), update(1))], 'abababab');
  expect(outcome.verdict).toEqual([]);
  expect(outcome.errors.toSorted()).toEqual(['40P01', null]);
});

test('what is wrong in the end is said', async () => {
  const outcome = await run(
    [
      session([`INSERT INTO tb_post VALUES (9, 2, 'new')`, `PREPARE TRANSACTION 'left ${process.pid}'`]),
      session(['SELECT pg_advisory_lock(1953916265, 7)', 'COMMIT']),
    ],
    'abab',
    { damage: `DELETE FROM iso.tv_user WHERE id = 1; INSERT INTO tviews.queue (change) VALUES ('{}')` },
  );
  expect(outcome.verdict).toEqual([
    'iso.tv_user is stale: 1 missing, 0 surplus, 0 different',
    '1 rows are left in tviews.queue',
    expect.stringMatching(/^[23] advisory locks are left$/),
    `transactions are left prepared: left ${process.pid}`,
  ]);
  await (await arena.connection(1, 'app')).client.query('SELECT pg_advisory_unlock_all()');
});

/** What the pool knows of prepared statements: one entry for one text, and of each server exactly what it holds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { closeMessage, ServerStatements, StatementStore } from '../../../../proxy/statements/store.ts';

const body = (text: string, ...types: readonly number[]): Buffer => {
  const tail = Buffer.alloc(2 + 4 * types.length);
  tail.writeInt16BE(types.length);
  for (const [index, type] of types.entries()) tail.writeInt32BE(type, 2 + 4 * index);
  return Buffer.concat([Buffer.from(`${text}\0`), tail]);
};

describe('the store', () => {
  test('gives one statement to one text with one list of types, and another to every other', () => {
    const store = new StatementStore(1_000_000, 'tviews');
    const first = store.intern(body('SELECT $1', 23));
    expect(store.intern(body('SELECT $1', 23))).toBe(first);
    const others = [body('SELECT $1', 25), body('SELECT $1'), body('SELECT $1 ', 23)].map((b) =>
      store.intern(b),
    );
    expect(new Set([first, ...others].map(({ id }) => id)).size).toBe(4);
    expect(first.parseMessage.toString('latin1')).toBe(
      `P\0\0\0${String.fromCharCode(4 + 9 + 10 + 6)}tviews_1\0SELECT $1\0\0\x01\0\0\0\x17`,
    );
    expect(closeMessage(first.serverName).toString('latin1')).toBe('C\0\0\0\x0eStviews_1\0');
  });

  test('keeps to its bound, and a statement it has forgotten goes on working for whoever names it', () => {
    const store = new StatementStore(10_000);
    const first = store.intern(body('SELECT 0'));
    for (let n = 1; n < 1_000; n += 1) store.intern(body(`SELECT ${n}`));
    expect(store.bytes).toBeLessThanOrEqual(10_000);
    const again = store.intern(body('SELECT 0'));
    expect(again.id).not.toBe(first.id);
    const server = new ServerStatements(10);
    server.add(first);
    expect([server.has(first), server.has(again)]).toEqual([true, false]);
  });

  test('gives another statement to the text of one it shall forget, and forgets no other', () => {
    const store = new StatementStore(1_000_000);
    const first = store.intern(body('SELECT 1', 23));
    store.forget(first);
    const second = store.intern(body('SELECT 1', 23));
    expect(second.id).not.toBe(first.id);
    store.forget(first);
    expect(store.intern(body('SELECT 1', 23))).toBe(second);
  });

  test('takes a text that is larger than its bound, and does not keep it', () => {
    const store = new StatementStore(100);
    expect(store.intern(body('x'.repeat(1_000))).text).toHaveLength(1_000);
    expect(store.size).toBe(0);
  });
});

describe("a server's statements", () => {
  const store = new StatementStore(1_000_000);
  const all = Array.from({ length: 6 }, (_, n) => store.intern(body(`SELECT ${n}`)));

  test('are never more than the most, and what is used least recently goes first', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(fc.nat(5)), (max, uses) => {
        const server = new ServerStatements(max);
        // The least recently used one first.
        let model: number[] = [];
        for (const index of uses) {
          const statement = all[index]!;
          const known = model.includes(index);
          expect(server.has(statement)).toBe(known);
          model = [...model.filter((other) => other !== index), index];
          if (known) continue;
          const evicted = model.length > max ? model.shift() : undefined;
          expect(server.add(statement)).toBe(evicted === undefined ? null : all[evicted]);
          expect(server.size).toBe(model.length);
        }
      }),
    );
  });

  test('are what they were when everything done is undone, last first', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.nat(5)),
        fc.array(fc.nat(5)),
        (max, before, undone) => {
          const server = new ServerStatements(max);
          for (const index of before) if (!server.has(all[index]!)) server.add(all[index]!);
          const held = all.map((statement) => server.has(statement));
          const log: (() => void)[] = [];
          for (const index of undone) {
            const statement = all[index]!;
            if (server.has(statement)) continue;
            const evicted = server.add(statement);
            log.push(() => server.delete(statement));
            if (evicted !== null) log.push(() => server.restore(evicted));
          }
          for (const undo of log.toReversed()) undo();
          expect(all.map((statement) => server.has(statement))).toEqual(held);
        },
      ),
    );
  });
});

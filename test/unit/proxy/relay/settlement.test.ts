/** Claimed or owing, nothing reaches COMMIT unflushed: however the statements are cut into messages, batches, packets. */
import { describe, expect, test } from 'vitest';
import { bind, execute, flush, parse, query, sync } from '../../../../proxy/wire/messages/requests.ts';
import {
  bound,
  type Conversation,
  called,
  change,
  complete,
  conversation,
  copyIn,
  failure,
  parsed,
  rawMessage,
  ready,
  repairOwed,
} from './fakes.ts';

const run = (statement: string) => [parse('', statement), bind({ statement: '' }), execute()];
const ran = (tag: string) => [parsed, bound, complete(tag)];
const INSERT = 'INSERT INTO tb_source VALUES (1)';
const copyDone = rawMessage('c');
const copyData = rawMessage('d', Buffer.from('1\n'));

/** In a transaction, nothing written yet. */
function begun(): Conversation {
  const talk = conversation();
  talk.sends(query('BEGIN'));
  talk.answers(complete('BEGIN'), ready('T'));
  talk.atServer();
  talk.atClient();
  return talk;
}

/** In a transaction that was claimed and owes a flush. */
function owing(): Conversation {
  const talk = begun();
  talk.sends(query(INSERT));
  expect(talk.atServer()).toEqual(['claim', `Q(${INSERT})`]);
  talk.answers(called, ready('T'), change('{}'), complete('INSERT 0 1'), ready('T'));
  expect(talk.atClient()).toEqual(['C(INSERT 0 1)', 'Z(T)']);
  return talk;
}

describe('a COMMIT is settled', () => {
  test('when it is bound before anything is owed and executed after', () => {
    const talk = begun();
    talk.sends(parse('c', 'COMMIT'), bind({ portal: 'late', statement: 'c' }), sync);
    talk.answers(parsed, bound, ready('T'));
    talk.sends(query(INSERT));
    talk.answers(called, ready('T'), change('{}'), complete('INSERT 0 1'), ready('T'));
    talk.atServer();
    talk.sends(execute('late'), sync);
    expect(talk.atServer()).toEqual(['flush', 'E(late)', 'S']);
    talk.answers(called, ready('T'), complete('COMMIT'), ready('I'));
    expect(talk.refresh.isEmpty).toBe(true);
    expect(talk.released).toEqual([talk.link]);
  });

  test('when its portal and a write are bound and executed in one batch', () => {
    const talk = begun();
    talk.sends(
      ...[parse('c', 'COMMIT'), bind({ portal: 'late', statement: 'c' }), parse('', INSERT)],
      ...[bind({ statement: '' }), execute(), execute('late'), sync],
    );
    // The write has to be answered before anybody knows what is owed.
    expect(talk.atServer()).toEqual([
      'P(tviews_1: COMMIT)',
      'B(late: tviews_1)',
      `P(: ${INSERT})`,
      'claim',
      'B(: )',
      'E()',
      'H',
    ]);
    talk.answers(parsed, bound, parsed, called, ready('T'), bound, change('{}'), complete('INSERT 0 1'));
    expect(talk.atServer()).toEqual(['flush', 'E(late)', 'S']);
    talk.answers(called, ready('T'), complete('COMMIT'), ready('I'));
    expect(talk.refresh.flushed).toEqual(['commit']);
    expect(talk.refresh.isEmpty).toBe(true);
  });

  test('behind a ROLLBACK TO that is still under way and undoes an earlier settlement', () => {
    const talk = owing();
    talk.sends(query('SAVEPOINT s'));
    talk.answers(complete('SAVEPOINT'), ready('T'));
    talk.sends(query('DO $$ $$'));
    talk.answers(called, ready('T'));
    talk.answers(complete('DO'), ready('T'));
    expect(talk.refresh.claimed).toBe(false);
    talk.atServer();
    talk.sends(query('ROLLBACK TO s'), query('COMMIT'));
    expect(talk.atServer()).toEqual(['Q(ROLLBACK TO s)']);
    talk.answers(complete('ROLLBACK'), ready('T'));
    expect(talk.atServer()).toEqual(['flush', 'Q(COMMIT)']);
  });

  test('behind a ROLLBACK TO that brings a failed transaction back, in one packet', () => {
    const talk = owing();
    talk.sends(query('SELECT 1/0'));
    talk.answers(failure('division by zero'), ready('E'));
    talk.atServer();
    talk.sends(query('ROLLBACK TO s'), query('COMMIT'));
    talk.answers(complete('ROLLBACK'), ready('T'));
    expect(talk.atServer()).toEqual(['Q(ROLLBACK TO s)', 'flush', 'Q(COMMIT)']);
  });

  test('behind a ROLLBACK TO that brings a failed transaction back, in one batch', () => {
    const talk = owing();
    talk.sends(query('SELECT 1/0'));
    talk.answers(failure('division by zero'), ready('E'));
    talk.atServer();
    talk.sends(...run('ROLLBACK TO s'), ...run('COMMIT'), sync);
    talk.answers(...ran('ROLLBACK'), parsed);
    const sent = talk.atServer();
    expect(sent.indexOf('flush')).toBeGreaterThan(sent.indexOf('P(: COMMIT)'));
    talk.answers(called, ready('T'), bound, complete('COMMIT'), ready('I'));
    expect(talk.refresh.flushed).toEqual(['commit']);
  });

  test('right behind the end of a COPY', () => {
    const talk = begun();
    talk.sends(query('COPY tb_source FROM STDIN'));
    talk.answers(called, ready('T'), copyIn);
    talk.atServer();
    talk.sends(copyData, copyDone, query('COMMIT'));
    expect(talk.atServer()).toEqual(['d', 'c']);
    talk.answers(change('{}'), complete('COPY 1'), ready('T'));
    expect(talk.atServer()).toEqual(['flush', 'Q(COMMIT)']);
  });

  test('of a statement whose new Parse was thrown away with a failed batch', () => {
    const talk = conversation({ mode: 'session' });
    talk.sends(parse('s', 'COMMIT'), sync);
    talk.answers(parsed, ready('I'));
    // A name that is taken: the old statement stays.
    talk.sends(parse('s', 'SELECT 1'), sync);
    talk.answers(failure('prepared statement "s" already exists', '42P05'), ready('I'));
    talk.sends(query('BEGIN'));
    talk.answers(complete('BEGIN'), ready('T'));
    talk.sends(query(INSERT));
    talk.answers(called, ready('T'), change('{}'), complete('INSERT 0 1'), ready('T'));
    talk.atServer();
    talk.sends(bind({ statement: 's' }), execute(), sync);
    expect(talk.atServer()).toEqual(['flush', 'B(: s)', 'E()', 'S']);
  });

  test('of a statement this client never prepared: another may have, under the name the pool gave it', () => {
    const talk = owing();
    talk.atServer();
    talk.sends(bind({ statement: 'tviews_7' }), execute(), sync);
    expect(talk.atServer()[0]).toBe('flush');
  });
});

describe('a flush the server never runs, for its batch has failed before it,', () => {
  test('does not hold the session up', () => {
    const talk = owing();
    talk.sends(parse('', 'nonsense'), ...run('COMMIT'), sync);
    expect(talk.atServer()).toEqual(['P(: nonsense)', 'P(: COMMIT)', 'flush', 'B(: )', 'E()', 'S']);
    talk.answers(failure('syntax error', '42601'), ready('E'));
    expect(talk.atClient()).toEqual(['E(syntax error)', 'Z(E)']);
    talk.sends(query('ROLLBACK'));
    expect(talk.atServer()).toEqual(['Q(ROLLBACK)']);
    talk.answers(complete('ROLLBACK'), ready('I'));
    expect(talk.refresh.isEmpty).toBe(true);
    expect(talk.released).toEqual([talk.link]);
  });

  test('is owed again when the transaction is brought back', () => {
    const talk = owing();
    talk.sends(parse('', 'nonsense'), ...run('COMMIT'), sync);
    talk.answers(failure('syntax error', '42601'), ready('E'));
    talk.sends(query('ROLLBACK TO s'));
    talk.answers(complete('ROLLBACK'), ready('T'));
    talk.atServer();
    talk.sends(query('COMMIT'));
    expect(talk.atServer()).toEqual(['flush', 'Q(COMMIT)']);
  });

  test('does not let the statement it was sent for go out', () => {
    const talk = owing();
    talk.atServer();
    talk.sends(parse('', 'nonsense'), ...run('DO $$ $$'), sync);
    expect(talk.atServer()).toEqual(['P(: nonsense)', 'P(: DO $$ $$)', 'flush']);
    talk.answers(failure('syntax error', '42601'));
    expect(talk.atServer()).toEqual(['S']);
    talk.answers(ready('E'));
    expect(talk.atClient()).toEqual(['E(syntax error)', 'Z(E)']);
  });
});

describe('a statement that waits for the outcome of a flush', () => {
  test('waits for it and not for the answer to something before it', () => {
    const talk = owing();
    talk.sends(parse('', 'SELECT 1'), sync, query('COMMIT; BEGIN'));
    expect(talk.atServer()).toEqual(['P(: SELECT 1)', 'S', 'flush']);
    talk.answers(parsed);
    talk.answers(ready('T'));
    expect(talk.atServer()).toEqual([]);
    expect(talk.atClient()).toEqual(['1', 'Z(T)']);
    talk.answers(called, ready('T'));
    expect(talk.atServer()).toEqual(['Q(COMMIT; BEGIN)']);
  });

  test('is left out whole when the flush fails, however long it is and however slowly it comes', () => {
    const talk = owing();
    const long = query(`COMMIT; SELECT '${'x'.repeat(2_000_000)}'`);
    talk.sends(long.subarray(0, 1_000));
    expect(talk.atServer()).toEqual(['flush']);
    talk.answers(failure('division by zero'), ready('E'));
    expect(talk.atClient()).toEqual(['E(division by zero)', 'Z(E)']);
    talk.sends(long.subarray(1_000, 1_500_000));
    talk.sends(long.subarray(1_500_000), query('ROLLBACK'));
    expect(talk.atServer()).toEqual(['Q(ROLLBACK)']);
  });

  test('goes on although the claim before the flush has failed', () => {
    const talk = begun();
    talk.sends(parse('', INSERT), bind({ statement: '' }), ...run('COMMIT'), sync);
    talk.answers(parsed, failure('canceling statement', '57014'), ready('E'));
    talk.answers(failure('current transaction is aborted', '25P02'));
    talk.answers(ready('E'));
    expect(talk.atClient()).toEqual(['1', 'E(canceling statement)', 'Z(E)']);
    talk.atServer();
    talk.sends(query('ROLLBACK'));
    expect(talk.atServer()).toEqual(['Q(ROLLBACK)']);
  });
});

describe('nothing is claimed', () => {
  test('behind a COMMIT in the same batch, where a call of ours would end the implicit transaction', () => {
    const talk = begun();
    talk.sends(...run('COMMIT'), ...run('UPDATE other SET a = 1'), flush);
    talk.answers(...ran('COMMIT'), ...ran('UPDATE 1'));
    talk.atServer();
    talk.sends(...run(INSERT), sync);
    expect(talk.atServer()).toEqual([`P(: ${INSERT})`, 'B(: )', 'E()', 'S']);
    talk.answers(...ran('INSERT 0 1'), ready('I'));
    expect(talk.released).toEqual([talk.link]);
  });

  test('and it is claimed again in the next transaction', () => {
    const talk = begun();
    talk.sends(...run('COMMIT'), sync);
    talk.answers(...ran('COMMIT'), ready('I'));
    talk.sends(query('BEGIN'));
    talk.answers(complete('BEGIN'), ready('T'));
    talk.atServer();
    talk.sends(query(INSERT));
    expect(talk.atServer()).toEqual(['claim', `Q(${INSERT})`]);
  });
});

describe('a tview read behind a BEGIN that is not answered yet', () => {
  const READ = 'SELECT FROM tv_view';

  test('waits for the write between them, and is preceded by a flush', () => {
    const talk = conversation();
    talk.sends(query('BEGIN'), query(INSERT), query(READ), query('COMMIT'));
    expect(talk.atServer()).toEqual(['Q(BEGIN)', `Q(${INSERT})`]);
    talk.answers(complete('BEGIN'), ready('T'), complete('INSERT 0 1'), ready('T'));
    expect(talk.atServer()).toEqual(['flush', `Q(${READ})`]);
    talk.answers(called, ready('T'), complete('SELECT 0'), ready('T'));
    expect(talk.atServer()).toEqual(['Q(COMMIT)']);
    talk.answers(complete('COMMIT'), ready('I'));
    expect(talk.atClient().at(-1)).toBe('Z(I)');
    expect(talk.released).toEqual([talk.link]);
  });

  test('so it does in a batch', () => {
    const talk = conversation();
    talk.sends(...run('BEGIN'), ...run(INSERT), ...run(READ), ...run('COMMIT'), sync);
    expect(talk.atServer().slice(-2)).toEqual([`P(: ${READ})`, 'H']);
    talk.answers(...ran('BEGIN'), ...ran('INSERT 0 1'), parsed);
    expect(talk.atServer()).toEqual(['flush', 'B(: )', 'E()', 'P(: COMMIT)', 'H']);
    talk.answers(called, ready('T'), bound, complete('SELECT 0'), parsed);
    expect(talk.atServer()).toEqual(['B(: )', 'E()', 'S']);
    talk.answers(bound, complete('COMMIT'), ready('I'));
    expect(talk.refresh.isEmpty).toBe(true);
    expect(talk.released).toEqual([talk.link]);
  });

  test('and where the BEGIN fails the rest goes its way', () => {
    const talk = conversation();
    talk.sends(...run('BEGIN'), ...run(INSERT), ...run(READ), sync);
    talk.atServer();
    talk.answers(parsed, bound, failure('no'));
    talk.answers(ready('I'));
    expect(talk.atClient()).toContain('Z(I)');
    talk.sends(query(READ));
    expect(talk.atServer().at(-1)).toBe(`Q(${READ})`);
  });
});

describe('what a transaction that keeps its snapshot could not see', () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  test('is looked at again before the client hears of the end, and nothing of the client goes out before', async () => {
    const talk = owing();
    talk.sends(query('COMMIT'));
    talk.answers(repairOwed, called, ready('T'), complete('COMMIT'), ready('I'));
    expect(talk.atClient()).toEqual(['C(COMMIT)']);
    expect(talk.released).toEqual([]);
    talk.atServer();
    talk.sends(query('SELECT 1'));
    expect(talk.atServer()).toEqual([]);
    talk.refresh.repaired!();
    await turn();
    expect(talk.atClient()).toEqual(['Z(I)']);
    expect(talk.atServer()).toEqual(['Q(SELECT 1)']);
  });

  test('gives the server back when that is done', async () => {
    const talk = owing();
    talk.sends(query('COMMIT'));
    talk.answers(repairOwed, called, ready('T'), complete('COMMIT'), ready('I'));
    talk.refresh.repaired!();
    await turn();
    expect(talk.atClient()).toEqual(['C(COMMIT)', 'Z(I)']);
    expect(talk.released).toEqual([talk.link]);
  });

  test('of a write outside a transaction, too', async () => {
    const talk = conversation();
    talk.sends(query(INSERT));
    talk.answers(repairOwed, complete('INSERT 0 1'), ready('I'));
    expect(talk.atClient()).toEqual(['C(INSERT 0 1)']);
    talk.refresh.repaired!();
    await turn();
    expect(talk.atClient()).toEqual(['Z(I)']);
  });

  test('nor what its DDL made of the schema: that is followed when it has committed', async () => {
    const talk = conversation();
    talk.sends(query('BEGIN'));
    talk.answers(complete('BEGIN'), ready('T'));
    talk.sends(query('ALTER TABLE t RENAME TO u'));
    talk.answers(complete('ALTER TABLE'), ready('T'));
    expect(talk.refresh.repaired).toBeNull();
    talk.atClient();
    talk.sends(query('COMMIT'));
    talk.answers(complete('COMMIT'), ready('I'));
    expect(talk.atClient()).toEqual(['C(COMMIT)']);
    talk.refresh.repaired!();
    await turn();
    expect(talk.atClient()).toEqual(['Z(I)']);
  });

  test('keeps nobody waiting who has sent more already', () => {
    const talk = conversation();
    talk.sends(query(INSERT), query('SELECT 1'));
    talk.answers(repairOwed, complete('INSERT 0 1'), ready('I'), complete('SELECT 1'), ready('I'));
    expect(talk.refresh.repaired).not.toBeNull();
    expect(talk.atClient()).toEqual(['C(INSERT 0 1)', 'Z(I)', 'C(SELECT 1)', 'Z(I)']);
  });

  test("is none of the client's business when the client has gone", async () => {
    const talk = owing();
    talk.sends(query('COMMIT'));
    talk.answers(repairOwed, called, ready('T'), complete('COMMIT'), ready('I'));
    talk.atClient();
    talk.client.onClose(null);
    talk.refresh.repaired!();
    await turn();
    expect(talk.atClient()).toEqual([]);
    expect(talk.released).toEqual([talk.link]);
  });
});

/** A session from its first message to its end: what it keeps, whom it waits for, and how either side may go away. */
import { describe, expect, test, vi } from 'vitest';
import { runOwn } from '../../../../proxy/relay/link-executor.ts';
import {
  bind,
  close,
  describe as describeMessage,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../../../proxy/wire/messages/requests.ts';
import {
  bound,
  complete,
  conversation,
  copyIn,
  FakeWire,
  failure,
  newLink,
  noData,
  parsed,
  rawMessage,
  ready,
  row,
  rowDescription,
  statementClosed,
} from './fakes.ts';

const run = (statement: string) => [parse('', statement), bind({ statement: '' }), execute()];
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('a client that waits for a server', () => {
  test('is read on, so that its end is noticed', () => {
    const talk = conversation({ waits: true });
    talk.sends(query('SELECT 1'));
    expect(talk.session.isWaiting).toBe(true);
    expect(talk.client.paused).toBe(false);
    talk.client.destroy();
    expect(talk.closed).toEqual(['client unexpected eof']);
  });

  test('is read no further than a bound, and again once it has a server', () => {
    const talk = conversation({ waits: true });
    talk.sends(query('SELECT 1'));
    const insert = query(`INSERT ${'x'.repeat(100_000)}`);
    for (let sent = 0; sent < 3; sent += 1) talk.sends(insert);
    expect(talk.client.paused).toBe(true);
    talk.assign();
    expect(talk.client.paused).toBe(false);
    expect(talk.atServer()).toHaveLength(4);
  });
});

describe('a message that comes in pieces', () => {
  test.for([
    ['Parse', parse('long', `SELECT '${'x'.repeat(300_000)}'`)],
    ['Query', query(`SELECT '${'x'.repeat(300_000)}'`)],
    ['Query longer than is looked at', query(`SELECT '${'x'.repeat(2_000_000)}'`)],
    ['Bind', bind({ statement: 'unknown', values: ['x'.repeat(300_000)] })],
    ['Bind with a name', bind({ statement: 'unknown'.repeat(30_000), values: ['x'] })],
  ] as const)('%s reaches the server whole', ([, message]) => {
    const whole = conversation({ mode: 'session' });
    whole.sends(message);
    for (const size of [1_000, 65_536]) {
      const cut = conversation({ mode: 'session' });
      for (let at = 0; at < message.length; at += size) cut.sends(message.subarray(at, at + size));
      expect(cut.server.take().equals(message)).toBe(true);
    }
    expect(whole.server.take().equals(message)).toBe(true);
  });

  test('a long one is not joined at each piece', () => {
    const concat = vi.spyOn(Buffer, 'concat');
    const talk = conversation({ mode: 'session' });
    const message = parse('long', 'x'.repeat(1_000_000));
    concat.mockClear();
    for (let at = 0; at < message.length; at += 1_000) talk.client.onBytes(message.subarray(at, at + 1_000));
    expect(concat.mock.calls.length).toBeLessThan(10);
    concat.mockRestore();
    expect(talk.server.take().equals(message)).toBe(true);
  });

  test.for([
    ['a length below four', Buffer.from([0x51, 0, 0, 0, 3])],
    ['a length above one gigabyte', Buffer.from([0x51, 0x7f, 0xff, 0xff, 0xff])],
    ['a length with its first bit set', Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])],
    ['a Sync of a megabyte', Buffer.from([0x53, 0, 0x10, 0, 0])],
    ['an unknown type', Buffer.from([0x7e, 0, 0, 0, 4])],
    ['an unknown type of a megabyte', Buffer.from([0x7e, 0, 0x10, 0, 0])],
    ['a Parse without zeros', Buffer.from([0x50, 0, 0, 0, 6, 0x61, 0x61])],
    ['a Bind without zeros', Buffer.from([0x42, 0, 0, 0, 6, 0x61, 0x61])],
  ] as const)('%s closes the session with a protocol violation', ([, bytes]) => {
    const talk = conversation();
    talk.sends(Buffer.from(bytes));
    expect(talk.atClient()[0]).toMatch(/^E\(invalid/);
    expect(talk.closed).toHaveLength(1);
  });
});

describe('back pressure', () => {
  test('a slow server stops its client, and lets it go on when it has taken everything', () => {
    const talk = conversation();
    talk.server.pendingBytes = 1_000_000;
    talk.sends(query('SELECT 1'));
    expect(talk.client.paused).toBe(true);
    talk.server.pendingBytes = 0;
    talk.server.onDrain();
    expect(talk.client.paused).toBe(false);
  });

  test('a slow client stops its server, and lets it go on', () => {
    const talk = conversation();
    talk.sends(query('SELECT 1'));
    talk.client.pendingBytes = 1_000_000;
    talk.answers(row('x'));
    expect(talk.server.paused).toBe(true);
    talk.client.pendingBytes = 0;
    talk.client.onDrain();
    expect(talk.server.paused).toBe(false);
  });

  test('a client that reads none of what the proxy answers by itself is read no further', () => {
    const talk = conversation();
    talk.client.pendingBytes = 1_000_000;
    talk.sends(close('S', 'a'), close('S', 'b'));
    expect(talk.client.paused).toBe(true);
    talk.client.pendingBytes = 0;
    talk.client.onDrain();
    expect(talk.client.paused).toBe(false);
  });

  test('a server is not given back stopped, whoever its client was', () => {
    const talk = conversation({ mode: 'session' });
    talk.sends(query('SELECT 1'));
    talk.client.pendingBytes = 1_000_000;
    talk.answers(row('x'), complete('SELECT 1'), ready('I'));
    expect(talk.server.paused).toBe(true);
    talk.client.destroy();
    expect(talk.released).toEqual([talk.link]);
    expect(talk.server.paused).toBe(false);
  });

  test('a client is not left stopped by a server that was given back', () => {
    const talk = conversation();
    talk.sends(query('COPY tb_source FROM STDIN'));
    talk.answers(copyIn);
    talk.server.pendingBytes = 1_000_000;
    talk.sends(rawMessage('d', Buffer.alloc(1_000)));
    expect(talk.client.paused).toBe(true);
    talk.server.pendingBytes = 0;
    talk.answers(failure('bad data'), ready('I'));
    expect(talk.released).toEqual([talk.link]);
    expect(talk.client.paused).toBe(false);
  });
});

describe('a statement of ours', () => {
  test('whose client has gone leaves a server that nobody gets', async () => {
    const talk = conversation();
    talk.sends(query('CREATE TVIEW tv_x AS SELECT 1'));
    expect(talk.ddl.runs).toHaveLength(1);
    talk.client.destroy();
    expect(talk.released).toEqual([talk.link]);
    expect(talk.link.closeReason).not.toBeNull();
    talk.ddl.finish({ tag: 'CREATE TVIEW', notices: [] });
    await nextTurn();
    expect(talk.closed).toHaveLength(1);
  });

  test('is run to its end before its session is closed for a shutdown', async () => {
    const talk = conversation();
    talk.sends(query('CREATE TVIEW tv_x AS SELECT 1'));
    talk.session.closeWhenIdle();
    expect(talk.closed).toEqual([]);
    talk.ddl.finish({ tag: 'CREATE TVIEW', notices: [] });
    await nextTurn();
    expect(talk.atClient().slice(0, 2)).toEqual(['C(CREATE TVIEW)', 'Z(I)']);
    expect(talk.closed).toHaveLength(1);
  });

  test('on a server that has been let go is refused', async () => {
    const wire = new FakeWire();
    const link = newLink(wire);
    link.retire();
    await expect(runOwn(link, 'SELECT 1')).rejects.toThrow('closed');
    expect(wire.take()).toHaveLength(0);
  });

  test('behind other statements in a batch waits for them, and their part of the batch is ended', async () => {
    const talk = conversation();
    talk.sends(...run('INSERT INTO other VALUES (1)'), ...run('CREATE TVIEW tv_x AS SELECT 1'), sync);
    expect(talk.ddl.runs).toEqual([]);
    talk.answers(parsed, bound, complete('INSERT 0 1'));
    expect(talk.atServer().at(-1)).toBe('S');
    talk.answers(ready('I'));
    talk.ddl.finish({ tag: 'CREATE TVIEW', notices: [] });
    await nextTurn();
    expect(talk.atClient()).toEqual(['1', '2', 'C(INSERT 0 1)', '1', '2', 'C(CREATE TVIEW)', 'Z(I)']);
    expect(talk.released).toEqual([talk.link]);
  });
});

describe('a statement of ours in a batch', () => {
  const create = 'CREATE TVIEW tv_x AS SELECT 1';

  test('is prepared and described at a Flush, and runs at the Sync behind its Execute', async () => {
    const talk = conversation();
    talk.sends(parse('x', create), describeMessage('S', 'x'), flush);
    expect(talk.atClient()).toEqual(['1', 't', 'n']);
    talk.sends(bind({ statement: 'x' }), describeMessage('P', ''), flush);
    expect(talk.atClient()).toEqual(['2', 'n']);
    talk.sends(execute());
    expect(talk.ddl.runs).toEqual([]);
    talk.sends(sync);
    expect(talk.ddl.runs).toEqual([create]);
    talk.ddl.finish({ tag: 'CREATE TVIEW', notices: [] });
    await nextTurn();
    expect(talk.atClient()).toEqual(['C(CREATE TVIEW)', 'Z(I)']);
    expect(talk.atServer().filter((message) => message !== 'H')).toEqual([]);
    expect(talk.released.at(-1)).toBe(talk.link);
  });

  test('is prepared in one batch, described in the next and run in a third', async () => {
    const talk = conversation();
    for (const [batch, answer] of [
      [[parse('x', create), sync], '1'],
      [[describeMessage('S', 'x'), sync], 't n'],
    ] as const) {
      talk.sends(...batch);
      talk.answers(ready('I'));
      expect(talk.atClient().join(' ')).toBe(`${answer} Z(I)`);
    }
    talk.sends(bind({ statement: 'x' }), execute(), sync);
    talk.ddl.finish({ tag: 'CREATE TVIEW', notices: [] });
    await nextTurn();
    expect(talk.atClient()).toEqual(['2', 'C(CREATE TVIEW)', 'Z(I)']);
  });

  test('leaves the statements beside it to the server', () => {
    const talk = conversation({ mode: 'session' });
    talk.sends(parse('x', create), parse('y', 'SELECT 1'), bind({ statement: 'x', portal: 'p' }), sync);
    expect(talk.atServer()).toEqual(['P(y: SELECT 1)', 'H']);
    talk.answers(parsed);
    expect(talk.atServer()).toEqual(['S']);
    talk.answers(ready('I'));
    expect(talk.atClient()).toEqual(['1', '1', '2', 'Z(I)']);
    // The portal went with its batch.
    talk.sends(execute('p'), sync);
    expect(talk.atServer()).toEqual(['E(p)', 'S']);
  });

  test('is told when it is not the last', async () => {
    for (const [behind, alone] of [
      [[], true],
      [[flush, describeMessage('P', '')], true],
      [run('SELECT 1'), false],
      [[execute()], false],
      [[query('SELECT 1')], false],
    ] as const) {
      const talk = conversation();
      const told = vi.spyOn(talk.ddl, 'run');
      talk.sends(...run(create), ...behind, sync);
      expect(told.mock.calls[0]?.slice(2)).toEqual([alone]);
      expect(talk.atServer()).toEqual([]);
    }
  });

  test('keeps nothing of what its client sends, however much it is', () => {
    const concat = vi.spyOn(Buffer, 'concat');
    for (const executes of [false, true]) {
      const talk = conversation();
      talk.sends(...(executes ? run(create) : [parse('', create)]));
      const long = bind({ statement: '', values: ['x'.repeat(100_000)] });
      concat.mockClear();
      for (let sent = 0; sent < 100; sent += 1) {
        talk.client.onBytes(long.subarray(0, 50_000));
        talk.client.onBytes(long.subarray(50_000));
      }
      expect(concat).not.toHaveBeenCalled();
      expect(talk.server.take()).toHaveLength(0);
      expect(talk.closed).toEqual([]);
    }
    concat.mockRestore();
  });

  test('comes after what fails before it, and then not at all', () => {
    const talk = conversation();
    talk.sends(parse('', 'nonsense'), ...run(create), sync);
    expect(talk.atServer()).toEqual(['P(: nonsense)', 'H']);
    talk.answers(failure('syntax error', '42601'));
    talk.answers(ready('I'));
    expect(talk.atClient()).toEqual(['E(syntax error)', 'Z(I)']);
    expect(talk.ddl.runs).toEqual([]);
  });
});

describe('statement mode', () => {
  test('closes a client that opens a transaction block, and its server', async () => {
    const talk = conversation({ mode: 'statement' });
    talk.sends(query('BEGIN'));
    talk.answers(complete('BEGIN'), ready('T'));
    await nextTurn();
    expect(talk.atClient()).toEqual([
      'C(BEGIN)',
      'E(transaction blocks not allowed in statement pooling mode)',
    ]);
    expect(talk.closed).toHaveLength(1);
    expect(talk.link.isReusable).toBe(false);
  });
});

describe('parameters the server refuses', () => {
  test('close the session with the reason, and nothing of its query is shown', async () => {
    const talk = conversation();
    talk.session.parameters.learn('DateStyle', 'nonsense');
    talk.sends(query('SELECT 1'));
    talk.answers(
      ...[failure('invalid value for parameter "DateStyle"', '22023'), ready('I')],
      ...[rowDescription, row('1'), complete('SELECT 1'), ready('I')],
    );
    await nextTurn();
    expect(talk.atClient().at(-1)).toBe('E(invalid value for parameter "DateStyle")');
    expect(talk.atClient()).not.toContain('Z(I)');
    expect(talk.closed).toHaveLength(1);
    expect(talk.link.isReusable).toBe(false);
  });
});

describe('prepared statements', () => {
  test.for([
    'DEALLOCATE a',
    '  deallocate PREPARE\n"a" ;; ',
  ])('%s is answered without a server, and frees the name', (text) => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atServer();
    talk.atClient();
    talk.sends(query(text), parse('a', 'SELECT 2'), sync);
    expect(talk.atServer()).toEqual(['P(tviews_2: SELECT 2)', 'S']);
    expect(talk.atClient()).toEqual(['C(DEALLOCATE)', 'Z(I)']);
  });

  test.for([
    'DEALLOCATE b',
    'DEALLOCATE "A"',
    'DEALLOCATE ALL',
    'DEALLOCATE a; SELECT 1',
    'DEALLOCATE a -- why',
    'DEALLOCATE',
  ])('%s is for the server to answer', (text) => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atServer();
    talk.sends(query(text));
    expect(talk.atServer()).toEqual([`Q(${text})`]);
  });

  test('a DEALLOCATE of a megabyte costs nobody else any time', () => {
    for (const filling of ['\xa0', 'a', ' ', '""', '"', ';', '\t;']) {
      const talk = conversation();
      const text = Buffer.from(`DEALLOCATE a${filling.repeat(400_000)}!\0`, 'latin1');
      const startedAt = performance.now();
      talk.sends(
        rawMessage('Q', text),
        rawMessage('Q', Buffer.concat([text.subarray(0, 11), text.subarray(12)])),
      );
      expect(performance.now() - startedAt).toBeLessThan(1_000);
    }
  });

  test.for([
    ['has gone', '26000', [bind({ statement: 'a' }), execute(), sync]],
    ['is another one', '42P05', [parse('b', 'SELECT 2'), sync]],
  ] as const)('a server whose statement %s is good for its client until the transaction ends, and for nobody after', ([
    ,
    code,
    messages,
  ]) => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.sends(query('BEGIN'));
    talk.answers(complete('BEGIN'), ready('T'));
    talk.sends(...messages);
    talk.answers(failure('tviews_1', code), ready('E'));
    expect(talk.released).toHaveLength(1);
    talk.sends(query('ROLLBACK'));
    talk.answers(complete('ROLLBACK'), ready('I'));
    expect(talk.released).toHaveLength(2);
    expect(talk.released[1]?.isReusable).toBe(false);
  });

  test('the batch that fails leaves every name and every statement of the server as it was', () => {
    const talk = conversation({ maxPreparedStatements: 1 });
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atServer();
    // Each evicts the one before; none of it is run.
    talk.sends(
      ...[parse('', 'nonsense'), close('S', 'a'), parse('b', 'SELECT 2'), parse('c', 'SELECT 3')],
      ...[parse('a', 'SELECT 4'), sync],
    );
    expect(talk.atServer()).toHaveLength(8);
    talk.atClient();
    talk.answers(failure('syntax error', '42601'), ready('I'));
    expect(talk.atClient()).toEqual(['E(syntax error)', 'Z(I)']);
    // a is what it was, and on the server; b and c are not.
    talk.sends(bind({ statement: 'a' }), execute(), sync);
    expect(talk.atServer()).toEqual(['B(: tviews_1)', 'E()', 'S']);
    talk.answers(bound, complete('SELECT 1'), ready('I'));
    talk.sends(parse('b', 'SELECT 2'), sync);
    expect(talk.atServer()).toEqual(['P(tviews_2: SELECT 2)', 'C(S tviews_1)', 'S']);
  });

  test('what the proxy would have answered by itself is not answered behind an error', () => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atClient();
    talk.sends(parse('', 'nonsense'), parse('b', 'SELECT 1'), close('S', 'a'), sync);
    talk.answers(failure('syntax error', '42601'), ready('I'));
    expect(talk.atClient()).toEqual(['E(syntax error)', 'Z(I)']);
    // So b is free and a is not closed.
    talk.sends(parse('b', 'SELECT 1'), bind({ statement: 'a' }), execute(), sync);
    talk.answers(bound, complete('SELECT 1'), ready('I'));
    expect(talk.atClient()).toEqual(['1', '2', 'C(SELECT 1)', 'Z(I)']);
  });

  test('what comes behind an error the client knows of, before its Sync, is ignored', () => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.sends(parse('', 'nonsense'), flush);
    talk.answers(failure('syntax error', '42601'));
    talk.atServer();
    talk.atClient();
    talk.sends(close('S', 'a'), ...run('SELECT 1'), query('SELECT 2'));
    expect(talk.atServer()).toEqual([]);
    talk.sends(sync);
    expect(talk.atServer()).toEqual(['S']);
    talk.answers(ready('I'));
    expect(talk.atClient()).toEqual(['Z(I)']);
  });

  test('a name is free again when the Parse that took it fails, even for a Parse sent in the same packet', () => {
    const talk = conversation();
    talk.sends(parse('a', 'nonsense'), sync, parse('a', 'SELECT 1'), sync);
    expect(talk.atServer()).toEqual(['P(tviews_1: nonsense)', 'S']);
    talk.answers(failure('syntax error', '42601'), ready('I'));
    expect(talk.atServer()).toEqual(['P(tviews_2: SELECT 1)', 'S']);
  });

  test("a name that is taken is refused in PostgreSQL's words", () => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atClient();
    talk.sends(parse('a', 'SELECT 2'), sync);
    talk.answers(failure('prepared statement "tviews_1" already exists', '42P05'), ready('I'));
    expect(talk.atClient()).toEqual(['E(prepared statement "a" already exists)', 'Z(I)']);
  });

  test('with room for one, two statements in one batch displace each other', () => {
    const talk = conversation({ maxPreparedStatements: 1 });
    talk.sends(parse('a', 'SELECT 1'), parse('b', 'SELECT 2'), sync);
    talk.answers(parsed, parsed, statementClosed, ready('I'));
    talk.atServer();
    talk.sends(bind({ statement: 'a' }), execute(), bind({ statement: 'b' }), execute(), sync);
    expect(talk.atServer()).toEqual([
      ...['P(tviews_1: SELECT 1)', 'C(S tviews_2)', 'B(: tviews_1)', 'E()'],
      ...['P(tviews_2: SELECT 2)', 'C(S tviews_1)', 'B(: tviews_2)', 'E()', 'S'],
    ]);
    talk.atClient();
    talk.answers(
      ...[parsed, statementClosed, bound, complete('SELECT 1')],
      ...[parsed, statementClosed, bound, complete('SELECT 1'), ready('I')],
    );
    expect(talk.atClient()).toEqual(['2', 'C(SELECT 1)', '2', 'C(SELECT 1)', 'Z(I)']);
    expect(talk.released.at(-1)).toBe(talk.link);
  });

  test('behind DISCARD ALL a statement is prepared anew, though it was sent with it', () => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atServer();
    talk.sends(query('DISCARD ALL'), parse('a', 'SELECT 1'), bind({ statement: 'a' }), execute(), sync);
    expect(talk.atServer()).toEqual(['Q(DISCARD ALL)']);
    talk.answers(complete('DISCARD ALL'), ready('I'));
    expect(talk.atServer()).toEqual(['P(tviews_1: SELECT 1)', 'B(: tviews_1)', 'E()', 'S']);
  });

  test('and the same in the extended protocol', () => {
    const talk = conversation();
    talk.sends(parse('a', 'SELECT 1'), sync);
    talk.answers(parsed, ready('I'));
    talk.atServer();
    talk.sends(...run('DISCARD ALL'), sync, parse('a', 'SELECT 1'), sync);
    expect(talk.atServer()).toEqual(['P(: DISCARD ALL)', 'B(: )', 'E()', 'H']);
    talk.answers(parsed, bound, complete('DISCARD ALL'));
    expect(talk.atServer()).toEqual(['S', 'P(tviews_1: SELECT 1)', 'S']);
  });

  test("the unnamed one is prepared again on another server, and never another client's", () => {
    const talk = conversation();
    talk.sends(parse('', 'SELECT 1'), describeMessage('S', ''), sync);
    talk.answers(parsed, rawMessage('t', Buffer.alloc(2)), noData, ready('I'));
    talk.atServer();
    talk.atClient();
    talk.sends(bind({ statement: '' }), execute(), sync);
    expect(talk.atServer()).toEqual(['P(: SELECT 1)', 'B(: )', 'E()', 'S']);
    talk.answers(parsed, bound, complete('SELECT 1'), ready('I'));
    expect(talk.atClient()).toEqual(['2', 'C(SELECT 1)', 'Z(I)']);

    const stranger = conversation();
    stranger.sends(bind({ statement: '' }), execute(), sync);
    expect(stranger.atServer()).toEqual(['C(S )', 'B(: )', 'E()', 'S']);
  });
});

describe('a message that has begun to go out', () => {
  test('keeps its server until its end, though the COPY it belongs to has failed and the proxy shuts down', () => {
    const talk = conversation();
    talk.sends(query('COPY t FROM STDIN'));
    talk.answers(copyIn);
    const data = rawMessage('d', Buffer.alloc(1_000));
    talk.sends(data.subarray(0, 9));
    talk.answers(failure('bad data'), ready('I'));
    talk.session.closeWhenIdle();
    expect([talk.released, talk.closed]).toEqual([[], []]);
    talk.sends(data.subarray(9));
    expect(talk.closed).toHaveLength(1);
    expect(talk.released[0]?.isReusable).toBe(true);
  });

  test('is ended by nobody else: its server is closed with its client', () => {
    const talk = conversation();
    talk.sends(query('COPY t FROM STDIN'));
    talk.answers(copyIn);
    talk.sends(rawMessage('d', Buffer.alloc(1_000)).subarray(0, 9));
    talk.answers(failure('bad data'), ready('I'));
    talk.client.destroy();
    expect(talk.released[0]?.isReusable).toBe(false);
  });

  test('and is dropped does not matter: none of it reaches the server, which is reused', () => {
    const talk = conversation({ mode: 'session' });
    talk.sends(query('COPY t FROM STDIN'));
    talk.answers(copyIn, failure('bad data'), ready('I'));
    talk.atServer();
    talk.sends(rawMessage('d', Buffer.alloc(1_000)).subarray(0, 9));
    expect(talk.server.take()).toHaveLength(0);
    talk.client.destroy();
    expect(talk.released[0]?.isReusable).toBe(true);
  });
});

describe('whoever goes first', () => {
  const steps = [
    () => [query('BEGIN')],
    () => run('SELECT 1'),
    () => [...run('SELECT 1'), sync],
    () => [query('CREATE TVIEW tv_x AS SELECT 1')],
    () => [query('SELECT 1').subarray(0, 7)],
    () => [bind({ statement: 'a', values: ['x'.repeat(100)] }).subarray(0, 50)],
    () => [parse('a', 'SELECT 1'), close('S', 'a')],
  ];
  const goings = ['the client vanishes', 'the server vanishes', 'the client says goodbye'] as const;

  for (const going of goings) {
    test.for(
      steps.map((step, index) => [index, step] as const),
    )(`${going} at step %i: the session ends once and its server is not reused in the middle of anything`, ([
      ,
      step,
    ]) => {
      for (const mode of ['transaction', 'session'] as const) {
        const talk = conversation({ mode });
        talk.sends(...step());
        const busy = talk.link.queue.size > 0 || talk.server.take().length > 0;
        if (going === 'the client vanishes') talk.client.destroy();
        else if (going === 'the client says goodbye') talk.sends(rawMessage('X'));
        else {
          talk.server.destroy();
          if (talk.session.link === null && talk.closed.length === 0) continue; // it had none
        }
        if (talk.closed.length === 0) continue; // the goodbye is behind something it waits for
        expect(talk.closed).toHaveLength(1);
        expect(talk.session.link).toBeNull();
        if (busy) expect(talk.released.at(-1)?.isReusable).not.toBe(true);
      }
    });
  }

  // An error within a row would be the row's next bytes: a value that was never in the table.
  test.for([
    'the server is lost',
    'the server sends what is no message',
    'the proxy shuts down',
    'the client sends what is no message',
  ] as const)('a client that has a part of a row is told nothing more when %s', (what) => {
    const talk = conversation();
    talk.sends(query('SELECT x'));
    const answer = Buffer.concat([rowDescription, row('x'.repeat(200))]);
    talk.answers(answer.subarray(0, answer.length - 20));
    if (what === 'the server is lost') talk.server.destroy();
    else if (what === 'the server sends what is no message')
      talk.answers(answer.subarray(answer.length - 20), Buffer.from('Z\0\0\0\0', 'latin1'));
    else if (what === 'the proxy shuts down') talk.session.closeForShutdown();
    else talk.sends(rawMessage('!'));
    const received = talk.client.take();
    expect(received.equals(answer.subarray(0, received.length))).toBe(true);
    expect(talk.client.ended).toBe(true);
    expect(talk.closed).toHaveLength(1);
    expect(talk.session.link).toBeNull();
  });

  test('a client that has the whole row is told why', () => {
    const talk = conversation();
    talk.sends(query('SELECT x'));
    const answer = Buffer.concat([rowDescription, row('x'.repeat(200))]);
    talk.answers(answer.subarray(0, answer.length - 20));
    talk.answers(answer.subarray(answer.length - 20));
    talk.server.destroy();
    expect(talk.atClient().at(-1)).toContain('server closed the connection unexpectedly');
  });

  test('a client that does not close its side is closed by us in the end', () => {
    vi.useFakeTimers();
    const talk = conversation();
    talk.session.close('57P01', 'enough');
    expect(talk.client.ended).toBe(true);
    expect(talk.client.closed).toBe(false);
    vi.runAllTimers();
    expect(talk.client.closed).toBe(true);
    vi.useRealTimers();
  });
});

/** What a server says, cut at every byte, and said by servers that are broken or mean harm. */
import { describe, expect, test } from 'vitest';
import { OwnQuery } from '../../../../proxy/relay/own-query.ts';
import { Action, Kind, type Note } from '../../../../proxy/relay/requests.ts';
import type { LinkOwner, ServerLink, Tag } from '../../../../proxy/relay/server-link.ts';
import type { ReceivedReport } from '../../../../proxy/wire/messages/report.ts';
import {
  bound,
  called,
  change,
  complete,
  copyIn,
  FakeWire,
  failure,
  newLink,
  notice,
  parsed,
  rawMessage,
  ready,
  row,
  rowDescription,
  statementClosed,
} from './fakes.ts';

/** A session that only notes what it is told. */
class Owner implements LinkOwner {
  readonly client = new FakeWire();
  readonly told: string[] = [];
  lost: Error | null | undefined;
  onTag(tag: Tag): void {
    this.told.push(`tag ${tag}`);
  }
  onChange(text: string): boolean {
    this.told.push(`change ${text.length > 40 ? text.length : text}`);
    return true;
  }
  onSchemaChange(isLikely: boolean): void {
    this.told.push(`schema change, ${isLikely ? 'likely' : 'possible'}`);
  }
  onRepairOwed(message: string): boolean {
    this.told.push(`repair owed: ${message}`);
    return true;
  }
  onRefreshError(note: Note, report: ReceivedReport): Uint8Array | null {
    this.told.push(`${note.kind} failed: ${report.message}`);
    return failure(`shown: ${report.message}`);
  }
  onFlushed(note: Note, report: string): void {
    this.told.push(`${note.kind} ${report}`);
  }
  onError(): void {
    this.told.push('error');
  }
  onParameters(): void {
    this.told.push('parameters');
  }
  onParametersRefused(): void {
    this.told.push('parameters refused');
  }
  onReady(status: number, asked: boolean): boolean {
    this.told.push(`ready ${String.fromCharCode(status)}${asked ? '' : ' for us'}`);
    return true;
  }
  onDropped(note: Note, failed: boolean): void {
    this.told.push(`${failed ? 'failed' : 'dropped'} ${note.kind}`);
  }
  onOutdated(): void {
    this.told.push('outdated');
  }
  afterReceive(): void {}
  onServerLost(error: Error | null): void {
    this.lost = error;
  }
}

function linked(): { wire: FakeWire; link: ServerLink; owner: Owner } {
  const wire = new FakeWire();
  const link = newLink(wire);
  const owner = new Owner();
  link.owner = owner;
  return { wire, link, owner };
}

const forward = (link: ServerLink, ...kinds: readonly Kind[]): void => {
  for (const kind of kinds) link.queue.push(kind, Action.Forward, null);
};
const flushNote: Note = { kind: 'flush', trigger: 'commit', startedAt: 0 };
const parameter = (name: string, value: string): Buffer =>
  rawMessage('S', Buffer.from(`${name}\0${value}\0`));

interface Talk {
  readonly ask: (link: ServerLink) => void;
  readonly said: readonly Buffer[];
  readonly shown: readonly Buffer[];
  readonly told: readonly string[];
  /** Requests without an answer at the end. */
  readonly left?: number;
}

const talks: Record<string, Talk> = {
  'a query': {
    ask: (link) => forward(link, Kind.Query),
    said: [rowDescription, row('one'), row('two'), notice('hear'), complete('SELECT 2'), ready('I')],
    shown: [rowDescription, row('one'), row('two'), notice('hear'), complete('SELECT 2'), ready('I')],
    told: ['ready I'],
  },
  'a batch with the end of a transaction': {
    ask: (link) => forward(link, Kind.Parse, Kind.Bind, Kind.Describe, Kind.Execute, Kind.Sync),
    said: [parsed, bound, rawMessage('n'), complete('COMMIT'), ready('I')],
    shown: [parsed, bound, rawMessage('n'), complete('COMMIT'), ready('I')],
    told: ['tag COMMIT', 'ready I'],
  },
  'what may have changed the schema is told, and nothing else': {
    ask: (link) => forward(link, Kind.Query, Kind.Query),
    said: [
      ...[
        complete('ALTER TABLE'),
        complete('DELETE 1'),
        complete('CREATE FUNCTION'),
        complete('DO'),
        ready('T'),
      ],
      ...[complete('CALL'), complete('COMMIT'), ready('I')],
    ],
    shown: [
      ...[
        complete('ALTER TABLE'),
        complete('DELETE 1'),
        complete('CREATE FUNCTION'),
        complete('DO'),
        ready('T'),
      ],
      ...[complete('CALL'), complete('COMMIT'), ready('I')],
    ],
    told: [
      ...['schema change, likely', 'schema change, likely', 'ready T'],
      ...['schema change, possible', 'tag COMMIT', 'ready I'],
    ],
  },
  'changes are taken out': {
    ask: (link) => forward(link, Kind.Query),
    said: [change('{"s": 1}'), notice('hear'), change('{"s": 2}'), complete('UPDATE 1'), ready('T')],
    shown: [notice('hear'), complete('UPDATE 1'), ready('T')],
    told: ['change {"s": 1}', 'change {"s": 2}', 'ready T'],
  },
  'what we ask for is swallowed': {
    ask: (link) => {
      link.queue.push(Kind.FunctionCall, Action.Skip, flushNote);
      forward(link, Kind.Query);
    },
    said: [called, ready('T'), complete('COMMIT'), ready('I')],
    shown: [complete('COMMIT'), ready('I')],
    told: ['flush []', 'ready T for us', 'tag COMMIT', 'ready I'],
  },
  'a flush that fails stands for its COMMIT': {
    ask: (link) => {
      link.queue.push(Kind.FunctionCall, Action.Skip, flushNote);
      forward(link, Kind.Query, Kind.Query);
    },
    said: [
      ...[failure('division by zero'), ready('E'), complete('ROLLBACK'), ready('I')],
      ...[complete('SELECT 1'), ready('I')],
    ],
    shown: [failure('shown: division by zero'), ready('I'), complete('SELECT 1'), ready('I')],
    told: ['error', 'flush failed: division by zero', 'ready E for us', 'tag ROLLBACK', 'ready I', 'ready I'],
  },
  'requests the server never saw are answered in their turn': {
    ask: (link) => {
      const answer = (kind: Kind, bytes: Uint8Array) =>
        link.queue.push(kind, Action.Fake, { kind: 'answer', bytes, renaming: null });
      forward(link, Kind.Parse);
      answer(Kind.Parse, parsed);
      answer(Kind.Close, statementClosed);
      forward(link, Kind.Bind);
      answer(Kind.Close, statementClosed);
      forward(link, Kind.Sync);
    },
    said: [parsed, bound, ready('I')],
    shown: [parsed, parsed, statementClosed, bound, statementClosed, ready('I')],
    told: ['ready I'],
  },
  'an error drops the batch to its Sync, the last first, and not the next batch': {
    ask: (link) => {
      forward(link, Kind.Parse);
      link.queue.push(Kind.Parse, Action.Fake, { kind: 'answer', bytes: parsed, renaming: null });
      link.queue.push(Kind.Parse, Action.Forward, { kind: 'unnamed', before: null });
      link.queue.push(Kind.FunctionCall, Action.Skip, flushNote);
      forward(link, Kind.Execute, Kind.Sync, Kind.Parse, Kind.Sync);
    },
    said: [failure('syntax error', '42601'), ready('E'), parsed, ready('E')],
    shown: [failure('syntax error', '42601'), ready('E'), parsed, ready('E')],
    told: ['error', 'dropped flush', 'dropped unnamed', 'dropped answer', 'ready E', 'ready E'],
  },
  'parameters are told unless it was we who set them': {
    ask: (link) => {
      link.queue.push(Kind.Query, Action.Skip, { kind: 'parameters' });
      forward(link, Kind.Query);
    },
    said: [
      ...[parameter('TimeZone', 'UTC'), complete('SET'), ready('I')],
      ...[parameter('TimeZone', 'CET'), complete('SET'), ready('I')],
    ],
    shown: [parameter('TimeZone', 'CET'), complete('SET'), ready('I')],
    told: ['parameters', 'ready I for us', 'parameters', 'ready I'],
  },
  'a copy whose Sync came before it': {
    ask: (link) => forward(link, Kind.Execute, Kind.Sync),
    said: [copyIn],
    shown: [copyIn],
    told: [],
    left: 1,
  },
};

describe('cut at every byte', () => {
  test.for(Object.keys(talks))('%s', (name) => {
    const talk = talks[name]!;
    const bytes = Buffer.concat(talk.said);
    const chunks: Buffer[][] = [[bytes], [...bytes].map((byte) => Buffer.from([byte]))];
    for (let cut = 1; cut < bytes.length; cut += 1)
      chunks.push([bytes.subarray(0, cut), bytes.subarray(cut)]);
    for (const pieces of chunks) {
      const { wire, link, owner } = linked();
      talk.ask(link);
      const memory = Buffer.alloc(bytes.length);
      for (const piece of pieces) {
        // The memory is reused, as a server socket's is.
        memory.fill(0xff);
        piece.copy(memory);
        wire.onBytes(memory.subarray(0, piece.length));
      }
      expect(owner.client.take()).toEqual(Buffer.concat(talk.shown));
      expect(owner.told).toEqual(talk.told);
      expect(link.queue.size).toBe(talk.left ?? 0);
    }
  });

  test('a query of ours gets its rows whole', () => {
    const said = Buffer.concat([
      rawMessage(
        'T',
        Buffer.concat([
          Buffer.from([0, 1]),
          Buffer.from('x\0'),
          Buffer.alloc(6),
          Buffer.from([0, 0, 0, 25]),
          Buffer.alloc(8),
        ]),
      ),
      row('one'),
      row('two'),
      complete('SELECT 2'),
      ready('I'),
    ]);
    for (let cut = 1; cut < said.length; cut += 1) {
      const { wire, link, owner } = linked();
      let rows: unknown;
      link.queue.push(Kind.Query, Action.Skip, {
        kind: 'own',
        query: new OwnQuery((_, got) => (rows = got)),
      });
      wire.onBytes(said.subarray(0, cut));
      wire.onBytes(said.subarray(cut));
      expect(rows).toEqual([{ x: 'one' }, { x: 'two' }]);
      expect(owner.client.take()).toHaveLength(0);
    }
  });
});

describe('a message too long to be held', () => {
  const huge = 'x'.repeat(3_000_000);
  const inPieces = (wire: FakeWire, bytes: Buffer): void => {
    for (let at = 0; at < bytes.length; at += 65_536) wire.onBytes(bytes.subarray(at, at + 65_536));
  };

  test('an error is passed on piece by piece, and drops its batch all the same', () => {
    const { wire, link, owner } = linked();
    forward(link, Kind.Parse, Kind.Bind, Kind.Execute, Kind.Sync);
    const said = Buffer.concat([parsed, bound, failure(huge), ready('I')]);
    inPieces(wire, said);
    expect(owner.client.take().equals(said)).toBe(true);
    expect(link.queue.size).toBe(0);
    expect(link.isReusable).toBe(true);
  });

  test("an error of a flush is shown in the flush's words", () => {
    const { wire, link, owner } = linked();
    link.queue.push(Kind.FunctionCall, Action.Skip, flushNote);
    forward(link, Kind.Query);
    inPieces(wire, Buffer.concat([failure(huge), ready('E'), complete('ROLLBACK'), ready('I')]));
    const shown = owner.client.take();
    expect(shown.toString('latin1', 0, 60)).toContain('shown: ');
    expect(shown.subarray(-6).equals(ready('I'))).toBe(true);
    expect(owner.told).toContain('tag ROLLBACK');
    expect(link.queue.size).toBe(0);
  });

  test('a change is never lost, and a notice is passed on', () => {
    const { wire, link, owner } = linked();
    forward(link, Kind.Query);
    inPieces(wire, Buffer.concat([change(huge), notice(huge), complete('UPDATE 1'), ready('T')]));
    expect(owner.told).toEqual(['change 3000000', 'ready T']);
    expect(owner.client.take().equals(Buffer.concat([notice(huge), complete('UPDATE 1'), ready('T')]))).toBe(
      true,
    );
  });

  test('a row of a client that has gone is swallowed to its end, and the server is not reused in the middle of it', () => {
    const { wire, link, owner } = linked();
    forward(link, Kind.Query);
    const said = Buffer.concat([row(huge), complete('SELECT 1'), ready('I')]);
    wire.onBytes(said.subarray(0, 1_000_000));
    expect(owner.client.take()).toHaveLength(1_000_000);
    link.owner = null;
    expect(link.isReusable).toBe(false);
    inPieces(wire, said.subarray(1_000_000));
    expect(owner.client.take()).toHaveLength(0);
    expect(link.isReusable).toBe(true);
  });
});

describe('a server that is no PostgreSQL', () => {
  const bad: Record<string, Buffer> = {
    'a negative length': Buffer.from([0x44, 0xff, 0xff, 0xff, 0xff]),
    'a length below four': Buffer.from([0x44, 0, 0, 0, 3]),
    'a ReadyForQuery that nobody asked for': ready('T'),
  };
  test.for(Object.keys(bad))('says %s: its session is told, nobody else', (name) => {
    const { wire, owner, link } = linked();
    wire.onBytes(bad[name]!);
    expect(owner.lost).toBeInstanceOf(Error);
    expect(link.isReusable).toBe(false);
  });

  const odd: Record<string, Buffer> = {
    'a tag of a megabyte': complete(`C${'x'.repeat(1_000_000)}`),
    'a tag of one letter without its zero': rawMessage('C', Buffer.from('C')),
    'an empty tag': rawMessage('C'),
    'a report without a code': rawMessage('E', Buffer.from('Mwhat\0\0')),
    'a report that breaks off': rawMessage('E', Buffer.from('SERR')),
    'a notice that breaks off': rawMessage('N', Buffer.from('SINFO\0CTV001\0Mhalf')),
    'an empty notice': rawMessage('N'),
    'an empty ReadyForQuery': rawMessage('Z'),
    'a parameter without a value': rawMessage('S', Buffer.from('TimeZone\0')),
    'an empty answer to a call': rawMessage('V'),
    'an answer to a call that is shorter than it says': rawMessage('V', Buffer.from([0, 0, 1, 0, 1])),
    'an unknown type': rawMessage('~', Buffer.from('what')),
    'a completion of what was never begun': Buffer.concat([parsed, bound, statementClosed]),
  };
  test.for(Object.keys(odd))('says %s, and nothing breaks but its own session', (name) => {
    for (const note of [null, flushNote, { kind: 'claim' }, { kind: 'parameters' }] as (Note | null)[]) {
      for (const kind of [Kind.Query, Kind.FunctionCall, Kind.Parse, Kind.Sync]) {
        const { wire, link } = linked();
        link.queue.push(kind, note === null ? Action.Forward : Action.Skip, note);
        wire.onBytes(odd[name]!);
        wire.onBytes(ready('I'));
      }
    }
  });

  test('garbage of any kind reaches nobody but its own session', () => {
    let state = 7;
    const random = (): number => {
      state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
      return state >> 8;
    };
    for (let round = 0; round < 300; round += 1) {
      const { wire, link } = linked();
      forward(link, Kind.Query, Kind.Parse, Kind.Bind, Kind.Execute, Kind.Sync);
      for (let count = 0; count < 20 && !wire.closed; count += 1) {
        const body = Buffer.from(Array.from({ length: random() % 20 }, () => random() & 0xff));
        wire.onBytes(rawMessage(String.fromCharCode('12CDEGHINSTVWZnst'.charCodeAt(random() % 17)), body));
      }
    }
  });
});

describe('a server that nobody uses', () => {
  test.for([
    ['a row', row('x')],
    ['a ReadyForQuery', ready('I')],
    ['an error', failure('terminating connection', '57P01')],
    ['a change', change('{}')],
  ] as const)('is given up when it says %s', ([, said]) => {
    const wire = new FakeWire();
    const link = newLink(wire);
    const closed: string[] = [];
    link.onUnlinkedClose = (reason) => closed.push(reason);
    wire.onBytes(said);
    expect(closed).toHaveLength(1);
    expect(link.isReusable).toBe(false);
  });

  test.for([
    ['a parameter', parameter('TimeZone', 'CET')],
    ['a notification', rawMessage('A', Buffer.from('\0\0\0\x01channel\0payload\0'))],
    ['a notice', notice('hello')],
  ] as const)('stays when it says %s', ([, said]) => {
    const wire = new FakeWire();
    const link = newLink(wire);
    wire.onBytes(said);
    expect(link.isReusable).toBe(true);
  });

  test('keeps the parameters it reports', () => {
    const wire = new FakeWire();
    const link = newLink(wire);
    wire.onBytes(parameter('TimeZone', 'CET'));
    expect(link.parameters.get('TimeZone')).toBe('CET');
  });
});

/** What goes to the server is the chunk, less what was cut, with what was put in, in its place: for any cuts at all. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Inbox } from '../../../../proxy/relay/inbox.ts';
import { Outbox } from '../../../../proxy/relay/outbox.ts';
import { FakeWire, newLink } from './fakes.ts';

const edit = fc.record({
  keep: fc.nat(5),
  what: fc.oneof(
    fc.record({ kind: fc.constant('cut' as const), bytes: fc.nat(5) }),
    fc.record({ kind: fc.constant('insert' as const), text: fc.string({ maxLength: 5 }) }),
    fc.record({ kind: fc.constant('replace' as const), bytes: fc.nat(5), text: fc.string({ maxLength: 5 }) }),
    fc.record({ kind: fc.constant('send' as const) }),
  ),
});

test('cuts and insertions at any place, over any number of chunks and sends', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ maxLength: 40 }), fc.nat(5), fc.array(edit))), (chunks) => {
      const wire = new FakeWire();
      const link = newLink(wire);
      const outbox = new Outbox();
      const expected: Buffer[] = [];
      for (const [content, dropped, edits] of chunks) {
        const chunk = Buffer.from(content);
        let at = Math.min(dropped, chunk.length);
        outbox.begin(at);
        for (const { keep, what } of edits) {
          const to = Math.min(at + keep, chunk.length);
          expected.push(chunk.subarray(at, to));
          at = to;
          if (what.kind === 'send') outbox.send(link, chunk, at);
          if (what.kind === 'insert') outbox.insert(Buffer.from(what.text), chunk, at);
          if (what.kind === 'cut' || what.kind === 'replace') {
            const end = Math.min(at + what.bytes, chunk.length);
            outbox.cut(chunk, at, end);
            if (what.kind === 'replace') outbox.push(Buffer.from(what.text));
            at = end;
          }
          if (what.kind === 'insert' || what.kind === 'replace') expected.push(Buffer.from(what.text));
        }
        expected.push(chunk.subarray(at));
        outbox.send(link, chunk, chunk.length);
      }
      expect(wire.take()).toEqual(Buffer.concat(expected));
    }),
  );
});

test('a chunk in which nothing changes is written as it is, without a copy', () => {
  const wire = new FakeWire();
  const written: Uint8Array[] = [];
  wire.write = (bytes) => written.push(bytes);
  const outbox = new Outbox();
  const chunk = Buffer.from('SELECT');
  outbox.begin(0);
  outbox.send(newLink(wire), chunk, chunk.length);
  expect(written[0]).toBe(chunk);
  expect(written).toHaveLength(1);
});

test('what is received in pieces comes out whole, when it is enough, though its memory is read into again', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 9 }), { minLength: 1 }),
      fc.nat(60),
      (pieces, needed) => {
        const inbox = new Inbox(true);
        const whole = Buffer.concat(pieces);
        const memory = Buffer.alloc(9);
        let seen = 0;
        let came = 0;
        inbox.keep(Buffer.from(pieces[0]!), needed);
        seen += pieces[0]!.length;
        for (const piece of pieces.slice(1)) {
          memory.set(piece);
          seen += piece.length;
          const taken = inbox.take(memory.subarray(0, piece.length));
          if (taken === null) {
            expect(seen - came).toBeLessThan(needed);
            continue;
          }
          expect(Buffer.from(taken)).toEqual(whole.subarray(came, seen));
          came = seen;
          break;
        }
        if (came === 0) expect(inbox.takeAll()).toEqual(whole.subarray(0, seen));
      },
    ),
  );
});

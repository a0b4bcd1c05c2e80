/** Changes come in notices that anybody may forge: what is kept is exactly a change, and the same in every encoding. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QUEUED, readChange } from '../../../src/refresh/change.ts';

const bytes = (text: string): string => Buffer.from(text).toString('latin1');

describe('the forms the database sends are read', () => {
  test.for<[string, number | null]>([
    ['{"r": [{"pk": 1}], "s": 3}', 3],
    ['{"r": [], "s": 3, "t": [1, 2]}', 3],
    ['{"s": 3, "all": true}', 3],
    ['{"s": 3, "t": [1], "all": true}', 3],
    ['{"queued": true}', null],
  ])('%s', ([text, source]) => {
    expect(readChange(text)).toEqual({ source, text });
  });

  test('whatever is in an image, its text is ASCII and means the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const sent = { r: [{ key: value }], s: 1 };
        const change = readChange(bytes(JSON.stringify(sent)))!;
        expect(change.text).toMatch(/^[\x20-\x7f]*$/);
        expect(JSON.parse(change.text)).toEqual(sent);
      }),
    );
  });

  test('to take the queue is always the same change', () => {
    expect(readChange('{"queued": true}')).toBe(QUEUED);
  });
});

describe('everything else is none', () => {
  test.for([
    // Two halves that would be one change when they are joined, with a real one between them.
    '{"zz":[1',
    '2]}',
    '{"s":"1:t","r":[999]}',
    '{"s":"1","all":true}',
    '{"s":1.5,"all":true}',
    '{"s":-1,"all":true}',
    '{"s":1}',
    '{"s":1,"all":false}',
    '{"s":1,"r":{}}',
    '{"s":1,"r":[],"all":true}',
    '{"s":1,"r":[],"t":["1"]}',
    '{"s":1,"r":[],"more":1}',
    '{"queued":true,"s":1}',
    '{"queued":1}',
    '[]',
    'null',
    '1',
    '',
    'hello',
  ])('%s', (text) => {
    expect(readChange(text)).toBeNull();
  });
});

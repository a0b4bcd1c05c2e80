import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParameterValues } from '../../../../proxy/server/parameters.ts';
import { TrackedParameters } from '../../../../proxy/wire/parameters.ts';

const tracked = new TrackedParameters(['IntervalStyle', 'search_path', 'shop.locale']);
const values = (given: Record<string, string>) => new ParameterValues(tracked, Object.entries(given));

describe('the difference between a client and a server', () => {
  test('is nothing when they agree, or when the client wants nothing', () => {
    expect(values({ TimeZone: 'UTC' }).difference(values({ TimeZone: 'UTC' }))).toBeNull();
    expect(values({}).difference(values({ TimeZone: 'UTC' }))).toBeNull();
  });

  test('is one SET for each parameter that differs', () => {
    const client = values({ TimeZone: 'Europe/Rome', DateStyle: 'ISO, DMY', application_name: '' });
    const server = values({ TimeZone: 'UTC', DateStyle: 'ISO, DMY', application_name: 'x' });
    expect(client.difference(server)).toBe(`SET "TimeZone"='Europe/Rome';SET "application_name"='';`);
  });

  test('names are case-insensitive, values are not', () => {
    const client = values({ timezone: 'utc', APPLICATION_NAME: 'Shop' });
    expect(client.difference(values({ TimeZone: 'utc', application_name: 'shop' }))).toBe(
      `SET "application_name"='Shop';`,
    );
  });

  test("the server's spelling is learned, so that an equivalent value is not set for ever", () => {
    const client = values({ DateStyle: 'ISO' });
    const server = values({ DateStyle: 'German, DMY', TimeZone: 'UTC' });
    expect(client.difference(server)).toBe(`SET "DateStyle"='ISO';`);
    expect(server.learn('DateStyle', 'ISO, DMY')).toBe(true);
    client.adopt(server);
    expect(client.difference(server)).toBeNull();
    expect(client.get('DateStyle')).toBe('ISO, DMY');
  });

  test('what a client changes itself it finds on its next server', () => {
    const first = values({ TimeZone: 'UTC' });
    const client = values({ TimeZone: 'UTC' });
    expect(client.difference(first)).toBeNull();
    first.learn('TimeZone', 'Asia/Tokyo');
    client.adopt(first);
    expect(client.difference(values({ TimeZone: 'UTC' }))).toBe(`SET "TimeZone"='Asia/Tokyo';`);
  });

  test('what one session learns later does not change another that was equal', () => {
    const server = values({ TimeZone: 'UTC' });
    const [ann, bob] = [values({ TimeZone: 'UTC' }), values({ TimeZone: 'UTC' })];
    expect(ann.difference(server)).toBeNull();
    expect(bob.difference(server)).toBeNull();
    server.learn('TimeZone', 'Asia/Tokyo');
    ann.adopt(server);
    expect(bob.get('TimeZone')).toBe('UTC');
    expect(bob.difference(server)).toBe(`SET "TimeZone"='UTC';`);
  });

  test('a parameter the server does not report is set at each link', () => {
    const client = values({ 'shop.locale': 'de' });
    const server = values({ TimeZone: 'UTC' });
    expect(client.difference(server)).toBe(`SET "shop"."locale"='de';`);
    client.adopt(server);
    expect(client.difference(server)).toBe(`SET "shop"."locale"='de';`);
  });

  test('unset values are filled at login from what the server gave', () => {
    const client = values({ TimeZone: 'UTC' });
    client.fillUnset(values({ TimeZone: 'Asia/Tokyo', client_encoding: 'UTF8' }));
    expect([client.get('TimeZone'), client.get('client_encoding'), client.get('DateStyle')]).toEqual([
      'UTC',
      'UTF8',
      null,
    ]);
  });

  test('parameters that are not tracked are nobody’s', () => {
    expect(values({}).learn('in_hot_standby', 'off')).toBe(false);
  });
});

describe('quoting', () => {
  const setting = (value: string) => values({ application_name: value }).difference(values({}));

  test.each([
    ["it's", `SET "application_name"='it''s';`],
    ['a\\', String.raw`SET "application_name"=E'a\\';`],
    ["Ã\\'; DROP TABLE x; --", String.raw`SET "application_name"=E'\u00c3\\''; DROP TABLE x; --';`],
    ['a\nb', String.raw`SET "application_name"=E'a\u000ab';`],
    ['😀', String.raw`SET "application_name"=E'\U0001f600';`],
  ])('%j is set as %s', (value, text) => expect(setting(value)).toBe(text));

  test('the text is ASCII whatever the value: its encoding is the last client’s', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        expect(setting(value.replaceAll('\0', ''))).toMatch(/^[\x20-\x7e]*$/);
      }),
    );
  });

  test.each([
    ['"$user", public', `'$user','public'`],
    ['Shop,"Mixed ""Case"""', `'shop','Mixed "Case"'`],
    ['""', `''`],
    ['', `''`],
    ["a'; DROP TABLE x; --", `'a''; DROP TABLE x; --'`],
    ['a, b c', `'a, b c'`],
    ['a,', `'a,'`],
  ])('search_path %j is set as %s', (value, list) => {
    expect(values({ search_path: value }).difference(values({}))).toBe(`SET "search_path"=${list};`);
  });
});

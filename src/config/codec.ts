/** How the text of a setting becomes its value: one codec per type, with the sentence a wrong value is answered with. */
import { z } from 'zod';

export interface Codec<Value> {
  /** For the documentation: `integer`, `seconds`, `on or off`… */
  readonly type: string;
  readonly schema: z.ZodType<Value, string>;
  /** The text that gives this value: for the example file. */
  print(value: Value): string;
}

export function text(): Codec<string> {
  return { type: 'text', schema: z.string(), print: (value) => value };
}

/** Text that may be absent: an empty value means not set. */
export function optionalText(type = 'text'): Codec<string | null> {
  return {
    type,
    schema: z.string().transform((value) => (value === '' ? null : value)),
    print: (value) => value ?? '',
  };
}

/** A value that is null as long as the setting is not given. */
export function orUnset<Value>(codec: Codec<Value>): Codec<Value | null> {
  return {
    type: codec.type,
    schema: codec.schema as z.ZodType<Value | null, string>,
    print: (value) => (value === null ? '' : codec.print(value)),
  };
}

export function integer(least: number, most: number): Codec<number> {
  return {
    type: 'integer',
    schema: numeric(/^[+-]?\d+$/, 'an integer').refine(
      (value) => value >= least && value <= most,
      `must be between ${least} and ${most}`,
    ),
    print: String,
  };
}

/** A time in the setting's unit; fractions are allowed, as in PgBouncer. */
export function duration(unit: 'seconds' | 'milliseconds'): Codec<number> {
  return {
    type: unit,
    schema: numeric(/^\+?(\d+\.?\d*|\.\d+)$/, `a number of ${unit}, 0 or more`),
    print: String,
  };
}

export function bytes(least: number): Codec<number> {
  return {
    type: 'bytes',
    schema: numeric(/^\+?\d+$/, 'a number of bytes').refine(
      (value) => value >= least,
      `must be at least ${least}`,
    ),
    print: String,
  };
}

/** PgBouncer writes 0 and 1; PostgreSQL's words are understood as well. */
export function flag(style: 'number' | 'word'): Codec<boolean> {
  const words: Readonly<Record<string, boolean>> = {
    ...{ '1': true, on: true, true: true, yes: true },
    ...{ '0': false, off: false, false: false, no: false },
  };
  const [yes, no] = style === 'number' ? ['1', '0'] : ['on', 'off'];
  return {
    type: `${no} or ${yes}`,
    schema: z.string().transform((value, context) => {
      const known = words[value.toLowerCase()];
      if (known !== undefined) return known;
      context.addIssue(`must be ${no} or ${yes}`);
      return z.NEVER;
    }),
    print: (value) => (value ? yes : no),
  };
}

/** One of some words. `known` are words PgBouncer knows and we do not support yet: they get a sentence of their own. */
export function oneOf<const Word extends string>(
  words: readonly Word[],
  known: readonly string[] = [],
): Codec<Word> {
  return {
    type: words.join(', '),
    schema: z.string().transform((value, context) => {
      const word = words.find((candidate) => candidate === value.toLowerCase());
      if (word !== undefined) return word;
      context.addIssue(
        known.includes(value.toLowerCase())
          ? `"${value}" is a value of PgBouncer's that tview-proxy does not support yet; it must be one of ${words.join(', ')}`
          : `must be one of ${words.join(', ')}`,
      );
      return z.NEVER;
    }),
    print: (value) => value,
  };
}

/** Words separated by commas. */
export function list(): Codec<readonly string[]> {
  return {
    type: 'list, separated by commas',
    schema: z.string().transform((value) =>
      value
        .split(',')
        .map((word) => word.trim())
        .filter((word) => word !== ''),
    ),
    print: (value) => value.join(', '),
  };
}

function numeric(form: RegExp, what: string): z.ZodType<number, string> {
  return z
    .string()
    .regex(form, { message: `must be ${what}`, abort: true })
    .transform(Number)
    .refine(Number.isFinite, { message: `must be ${what}`, abort: true });
}

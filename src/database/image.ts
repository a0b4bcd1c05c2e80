/**
 * Images: what a change carries of a row, the link columns as one JSON object. They must come back exactly: a link value
 * that changes on the way derives a wrong key, and a wrong key is a stale tview.
 */
import type { Column } from '../definition/plan.ts';
import { quoteIdentifier, quoteLiteral } from './identifier.ts';
import { outputSettings, searchPath } from './settings.ts';

/**
 * Types whose JSON form is exact, whatever the settings, and distinct for distinct values: everything else travels as
 * text. Not numeric: JSON compares 1.0 and 1.00 as equal, and DISTINCT would drop one. Not jsonb: its null would come back
 * as NULL. Timestamps are written with their offset; reading it back gives the same instant.
 */
const asJson =
  /^(smallint|integer|bigint|oid|boolean|text|name|uuid|date|character varying(\(\d+\))?|timestamp(\(\d\))? with(out)? time zone)$/;

/** Types that travel as text which no setting changes, or not in a way that matters to who reads it. */
const plainText =
  /^(numeric(\(\d+(,-?\d+)?\))?|character(\(\d+\))?|"char"|bytea|jsonb?|inet|cidr|macaddr8?|bit( varying)?(\(\d+\))?)$/;

/** Arguments one function call can have; each column takes two. */
const columnsPerCall = 50;

export function imageExpression(alias: string, columns: readonly Column[]): string {
  const pairs = columns.map(({ name, type }) => {
    const value = `${alias}.${quoteIdentifier(name)}`;
    return `${quoteLiteral(name)}, ${asJson.test(type) ? value : `${value}::text`}`;
  });
  // Nothing is derived from it: that a row changed is all there is to say.
  if (pairs.length === 0) return `'{}'::jsonb`;
  const calls: string[] = [];
  for (let i = 0; i < pairs.length; i += columnsPerCall) {
    calls.push(`jsonb_build_object(${pairs.slice(i, i + columnsPerCall).join(', ')})`);
  }
  return calls.join(' || ');
}

/** A SELECT that reads a JSON array of images back as the relation `changed` of a key query. */
export function imagesRelation(json: string, columns: readonly Column[]): string {
  const declared = columns.map(({ name, type, collation }) => {
    const collate = collation === null ? '' : ` COLLATE ${collation}`;
    return `${quoteIdentifier(name)} ${asJson.test(type) ? `${type}${collate}` : 'text'}`;
  });
  const output = columns.map(({ name, type, collation }) => {
    const value = `image.${quoteIdentifier(name)}`;
    if (asJson.test(type)) return value;
    const collate = collation === null ? '' : ` COLLATE ${collation}`;
    return `(${value}::${type}${collate}) AS ${quoteIdentifier(name)}`;
  });
  if (columns.length === 0) return `SELECT\nFROM jsonb_array_elements(${json}) AS image`;
  return `SELECT ${output.join(', ')}\nFROM jsonb_to_recordset(${json}) AS image (${declared.join(', ')})`;
}

/** One column of one image, read back as the value it was. */
const imageValue = (image: string, { name, type }: Column): string =>
  `(${image}->>${quoteLiteral(name)})::${type}`;

/** The same, of the first image of an array whose images have these columns. */
export const firstImageValue = (images: string, columns: readonly Column[], name: string): string =>
  imageValue(`${images}->0`, columns.find((column) => column.name === name)!);

/** As imagesRelation, of one image alone: `changes->'7'->0`. */
export function imageRelation(image: string, columns: readonly Column[]): string {
  const output = columns.map((column) => {
    const collate = column.collation === null ? '' : ` COLLATE ${column.collation}`;
    return `(${imageValue(image, column)}${collate}) AS ${quoteIdentifier(column.name)}`;
  });
  return `SELECT ${output.join(', ')}`;
}

/** The settings a capture function needs for these columns. Each costs time in every statement, so only what matters. */
export function captureSettings(columns: readonly Column[]): Record<string, string> {
  const exact = columns.every(({ type }) => asJson.test(type) || plainText.test(type));
  return exact ? { search_path: searchPath } : { search_path: searchPath, ...outputSettings };
}

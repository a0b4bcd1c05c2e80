/** Quoting, in one place: every identifier and literal in generated SQL goes through here. */
import type { QualifiedName } from '../definition/plan.ts';

/** Quotes always, so that keywords, mixed case and non-ASCII names need no thought. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteQualified(name: QualifiedName): string {
  return `${quoteIdentifier(name.schema)}.${quoteIdentifier(name.name)}`;
}

/** As people write a name in SQL, and on the command line: quoted where it has to be. */
export const writtenName = ({ schema, name }: QualifiedName): string =>
  [schema, name].map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) ? part : quoteIdentifier(part))).join('.');

/** A string literal that means the same whatever `standard_conforming_strings` is. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

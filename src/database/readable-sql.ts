/** Generated SQL as a person would write it: it means the same, names and operators without what only the machine needs. */
import { nextToken, type Token } from '../definition/lexer.ts';
import type { SqlExecutor } from './executor.ts';

/** Names of the server's that cannot stand for a column or a table without quotes. */
export async function reservedWords(executor: SqlExecutor): Promise<ReadonlySet<string>> {
  const rows = await executor.query<{ word: string }>(
    `SELECT k.word FROM pg_catalog.pg_get_keywords() AS k WHERE k.catcode <> 'U'`,
  );
  return new Set(rows.map(({ word }) => word));
}

const explicitEquality = 'OPERATOR(pg_catalog.=)';
const beginsClause: ReadonlySet<string> = new Set(['select', 'from', 'join', 'where']);
const beginsCondition: ReadonlySet<string> = new Set(['on', 'and']);

/**
 * A key query: one clause to a line; a clause that is too long has its conditions and columns each on a line of its own. In
 * it every name but `changed` is quoted, so that a plain word is a keyword or a type.
 */
export function readableSql(sql: string, reserved: ReadonlySet<string>, width: number): string {
  const clauses: string[][] = [];
  let at = 0;
  let after: Token | null = null;
  for (let token = nextToken(sql, at); token !== null; token = nextToken(sql, at)) {
    const isEquality = token.kind === 'word' && sql.startsWith(explicitEquality, token.start);
    at = isEquality ? token.start + explicitEquality.length : token.end;
    const gap = after === null || token.start === after.end ? '' : ' ';
    const text = isEquality ? '=' : readable(sql, token, reserved);
    if (token.kind === 'word' && beginsClause.has(token.value)) clauses.push([text]);
    else if (token.kind === 'word' && beginsCondition.has(token.value)) clauses.at(-1)?.push(text);
    else if (after?.kind === 'symbol' && after.value === ',' && depthOf(clauses.at(-1)) === 0)
      clauses.at(-1)?.push(text);
    else clauses.at(-1)?.push(`${clauses.at(-1)!.pop()}${gap}${text}`);
    after = { ...token, end: at };
  }
  return clauses
    .map((parts) => {
      const line = parts.join(' ');
      return [...line].length <= width ? line : parts.join('\n  ');
    })
    .join('\n');
}

/** Of parentheses that are open at the end of a clause: a comma of numeric(10,2) separates no columns. */
function depthOf(parts: readonly string[] | undefined): number {
  const text = (parts ?? []).join(' ').replaceAll(/"(?:[^"]|"")*"/g, '');
  return text.split('(').length - text.split(')').length;
}

function readable(sql: string, token: Token, reserved: ReadonlySet<string>): string {
  const isPlain =
    token.kind === 'quoted' && /^[a-z_][a-z0-9_$]*$/.test(token.value) && !reserved.has(token.value);
  return isPlain ? token.value : sql.slice(token.start, token.end);
}

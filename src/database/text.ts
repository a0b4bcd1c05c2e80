/** Laying out generated SQL: what we install is read by people in CONTEXT lines, \sf and EXPLAIN. */

/** Indents every line but the first, which stands where the template put it. */
export function hang(text: string, spaces: number): string {
  return text.replaceAll('\n', `\n${' '.repeat(spaces)}`);
}

/** Adds what a query finds, column by column, to array variables; a condition or the semicolon follows. */
export function appendFound(
  variables: readonly string[],
  query: string,
  alias: string,
  columns: readonly string[],
): string {
  const appended = variables.map((variable, i) => `${variable} || array_agg(${alias}.${columns[i]!})`);
  return `SELECT ${appended.join(', ')}
INTO ${variables.join(', ')}
FROM (
  ${hang(query, 2)}
) AS ${alias} (${columns.join(', ')})`;
}

/** A dollar quote that does not occur in the text. */
export function dollarQuote(text: string): string {
  let tag = '$$';
  for (let i = 0; text.includes(tag); i++) tag = `$body${i}$`;
  return `${tag}\n${text}\n${tag}`;
}

/** A name for an object of ours made of somebody's name and an id: at most 63 bytes, cut between characters. */
export function objectName(prefix: string, name: string, id: number): string {
  const room = 63 - Buffer.byteLength(`${prefix}__${id}`);
  let cut = name;
  while (Buffer.byteLength(cut) > room) cut = [...cut].slice(0, -1).join('');
  return `${prefix}_${cut}_${id}`;
}

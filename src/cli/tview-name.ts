/** The name of a tview on the command line is SQL, quotes and all: the statements' own parser reads it. */
import type { DropTview } from '../definition/plan.ts';
import { parseTviewStatements } from '../definition/statement.ts';
import { UsageError } from './terminal.ts';

export async function readName(text: string): Promise<DropTview> {
  const statements = await parseTviewStatements(`DROP TVIEW ${text}`);
  const [parsed] = statements;
  if (statements.length !== 1 || parsed?.statement.kind !== 'drop')
    throw new UsageError('one name is expected');
  return parsed.statement;
}

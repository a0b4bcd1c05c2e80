/**
 * Reads the examples of this folder. A file is one application's database, in the order in which one would write it: tables and their
 * rows; the tviews; then the application at work, transaction by transaction. Only two kinds of comment mean something:
 *
 *     -- refused: <what the error says>      above a CREATE TVIEW, which must fail so, and whose name the next one takes
 *     -- way out: <what its hint says>
 *     -- always there                        above a CREATE TVIEW of which no row comes or goes, whatever is written
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nextToken } from '../../../src/definition/lexer.ts';
import type { CreateTview } from '../../../src/definition/plan.ts';
import { parseTviewStatements } from '../../../src/definition/statement.ts';

export interface Definition {
  readonly statement: CreateTview;
  /** Null where it is accepted. */
  readonly refused: { readonly message: string; readonly wayOut: string } | null;
  readonly isAlwaysThere: boolean;
}

export interface Example {
  readonly name: string;
  /** Tables, views and first rows. */
  readonly setup: string;
  readonly definitions: readonly Definition[];
  /** Statements, each list a transaction. */
  readonly transactions: readonly (readonly string[])[];
}

interface Statement {
  /** Its first words, folded. */
  readonly begins: string;
  readonly comment: string;
  readonly text: string;
}

/** Without their semicolons, each with the comment above it. */
function splitStatements(text: string): Statement[] {
  const statements: Statement[] = [];
  let end = 0;
  let words: string[] = [];
  let start: number | null = null;
  for (let token = nextToken(text, 0); token !== null; token = nextToken(text, token.end)) {
    if (token.kind === 'symbol' && token.value === ';') {
      if (start !== null) {
        statements.push({
          begins: words.join(' '),
          comment: text.slice(end, start),
          text: text.slice(start, token.start),
        });
      }
      end = token.end;
      start = null;
      words = [];
      continue;
    }
    start ??= token.start;
    if (words.length < 4 && token.kind === 'word') words.push(token.value);
  }
  if (start !== null) throw new Error(`a statement without a semicolon: ${text.slice(start)}`);
  return statements;
}

const isDefinition = ({ begins }: Statement): boolean => /^create (or replace )?tview\b/.test(begins);

async function readDefinition({ comment, text }: Statement): Promise<Definition> {
  const [located] = await parseTviewStatements(text);
  if (located?.statement.kind !== 'create') throw new Error(`not a definition: ${text}`);
  const said = (what: string): string | undefined =>
    new RegExp(`^-- ${what}: (.*)$`, 'm').exec(comment)?.[1]?.trim();
  const message = said('refused');
  return {
    statement: located.statement,
    refused: message === undefined ? null : { message, wayOut: said('way out')! },
    isAlwaysThere: /^-- always there$/m.test(comment),
  };
}

function groupTransactions(statements: readonly Statement[]): string[][] {
  const transactions: string[][] = [];
  let open: string[] | null = null;
  for (const { begins, text } of statements) {
    if (begins === 'begin') {
      transactions.push([text]);
      open = transactions.at(-1)!;
    } else if (open === null) transactions.push([text]);
    else {
      open.push(text);
      if (begins === 'commit' || begins === 'rollback') open = null;
    }
  }
  return transactions;
}

async function readExample(name: string, text: string): Promise<Example> {
  const statements = splitStatements(text);
  const first = statements.findIndex(isDefinition);
  const last = statements.findLastIndex(isDefinition);
  const definitions = await Promise.all(statements.slice(first, last + 1).map(readDefinition));
  return {
    name,
    setup: statements
      .slice(0, first)
      .map((statement) => `${statement.text};\n`)
      .join(''),
    definitions,
    transactions: groupTransactions(statements.slice(last + 1)),
  };
}

export async function readExamples(): Promise<Example[]> {
  const folder = import.meta.dirname;
  const files = readdirSync(folder).filter((file) => file.endsWith('.sql'));
  return await Promise.all(
    files.map((file) => readExample(file.slice(0, -'.sql'.length), readFileSync(join(folder, file), 'utf8'))),
  );
}

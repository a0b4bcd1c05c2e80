/** Reads files of definitions and applies them: all of them are read first, so that a typing error changes nothing. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ApplyPlanner, type PlannedAction } from '../database/apply-plan.ts';
import { dropTview } from '../database/drop.ts';
import type { SqlExecutor } from '../database/executor.ts';
import { applyOnline, type Applied as OneApplied, type OnlineHooks } from '../database/online-apply.ts';
import { inTransaction, rolledBack, sqlStateOf } from '../database/session.ts';
import type { Advice, Located, TviewStatement } from '../definition/plan.ts';
import { parseTviewStatements, placeOf, pointIntoText } from '../definition/statement.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { ErrorInFile } from './terminal.ts';

export interface DefinitionFile {
  readonly file: string;
  readonly text: string;
  readonly statements: readonly Located<TviewStatement>[];
}

export interface Applied {
  readonly file: string;
  readonly line: number;
  readonly tview: string;
  readonly action: OneApplied['action'] | 'dropped';
  /** It goes stale, and was left so. */
  readonly isSuspended: boolean;
  /** Rows filled in. */
  readonly rows: number;
  readonly advice: readonly Advice[];
}

export interface ApplyOptions {
  /** For `-`. */
  readonly readStdin?: () => Promise<string>;
  /** Before each statement. */
  readonly step?: (name: string) => void;
  /** After each, which an error behind it leaves as it is. */
  readonly done?: (applied: Applied) => void;
  readonly hooks?: OnlineHooks;
}

/** The statements of the files, folders (their .sql files in name order) and `-`. */
export async function readDefinitions(
  paths: readonly string[],
  readStdin?: () => Promise<string>,
): Promise<DefinitionFile[]> {
  const files: DefinitionFile[] = [];
  for (const path of paths) {
    for (const file of path === '-' ? ['-'] : filesOf(path)) {
      const text = file === '-' ? ((await readStdin?.()) ?? '') : readText(file);
      const name = file === '-' ? 'stdin' : file;
      try {
        files.push({ file: name, text, statements: await parseTviewStatements(text) });
      } catch (error) {
        throw inFile(name, text, 0, error);
      }
    }
  }
  return files;
}

/** Each statement by itself: what was applied before an error stays, and applying again is harmless. */
export async function applyPaths(
  executor: SqlExecutor,
  paths: readonly string[],
  options: ApplyOptions = {},
): Promise<Applied[]> {
  return applyDefinitions(executor, await readDefinitions(paths, options.readStdin), options);
}

export async function applyDefinitions(
  executor: SqlExecutor,
  files: readonly DefinitionFile[],
  options: ApplyOptions = {},
): Promise<Applied[]> {
  const applied: Applied[] = [];
  for (const { file, text, statements } of files) {
    for (const located of statements) {
      const { statement, offset, line } = located;
      const tview = nameOf(statement);
      options.step?.(tview);
      try {
        const one = { file, line, tview, ...(await applyOne(executor, statement, options.hooks)) };
        applied.push(one);
        options.done?.(one);
      } catch (error) {
        throw inFile(file, text, offset, pointIntoText(error, text, located));
      }
    }
  }
  return applied;
}

export interface Planned extends PlannedAction {
  readonly file: string;
  readonly line: number;
  readonly tview: string;
}

/** What applying them would do. Nothing stays of it, and an error of one statement keeps no other from being looked at. */
export async function planDefinitions(
  executor: SqlExecutor,
  files: readonly DefinitionFile[],
  step: (name: string) => void,
): Promise<{ readonly planned: readonly Planned[]; readonly refused: readonly ErrorInFile[] }> {
  return await rolledBack(executor, 'READ WRITE', async () => {
    const planner = await ApplyPlanner.begin(executor);
    const planned: Planned[] = [];
    const refused: ErrorInFile[] = [];
    for (const { file, text, statements } of files) {
      for (const located of statements) {
        const { statement, offset, line } = located;
        const tview = nameOf(statement);
        step(tview);
        try {
          planned.push({ file, line, tview, ...(await planner.next(statement)) });
        } catch (error) {
          // Without an answer from the server there is none for the others either.
          if (sqlStateOf(error) === undefined) throw error;
          refused.push(inFile(file, text, offset, pointIntoText(error, text, located)));
        }
      }
    }
    return { planned, refused };
  });
}

const nameOf = ({ schema, name }: TviewStatement): string => (schema === null ? name : `${schema}.${name}`);

async function applyOne(
  executor: SqlExecutor,
  statement: TviewStatement,
  hooks: OnlineHooks | undefined,
): Promise<Pick<Applied, 'action' | 'isSuspended' | 'rows' | 'advice'>> {
  if (statement.kind === 'create') {
    const { action, isSuspended, rows, advice } = await applyOnline(executor, statement, hooks);
    return { action, isSuspended, rows, advice };
  }
  const { action } = await inTransaction(executor, () => dropTview(executor, statement));
  return { action, isSuspended: false, rows: 0, advice: [] };
}

function filesOf(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const files = readdirSync(path)
      .filter((name) => name.endsWith('.sql'))
      .sort()
      .map((name) => join(path, name));
    if (files.length > 0) return files;
  } catch (error) {
    throw unreadable(path, error);
  }
  throw new TviewsError(SqlState.undefinedObject, `folder "${path}" has no .sql files`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(path: string, error: unknown): TviewsError {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason =
    code === 'ENOENT' ? 'no such file or folder' : code === 'EACCES' ? 'permission denied' : message;
  return new TviewsError(SqlState.undefinedObject, `could not read "${path}": ${reason}`, { cause: error });
}

/** `file:line:column`, of the error's position where it has one, else of the statement. */
function inFile(file: string, text: string, offset: number, error: unknown): ErrorInFile {
  const { position } = error as { position?: unknown };
  const { line, column } = placeOf(text, typeof position === 'number' ? position : offset + 1);
  return new ErrorInFile(`${file}:${line}:${column}`, error);
}

/** Our own statements on a server connection, through its one request queue: an SqlExecutor for src/. */
import type { SqlExecutor } from '../../src/database/executor.ts';
import { bind, describe, execute, parse, query, sync } from '../wire/messages/requests.ts';
import { OwnQuery } from './own-query.ts';
import { Action, Kind } from './requests.ts';
import type { ServerLink } from './server-link.ts';

type Row = Record<string, unknown>;

/** Runs one statement of ours, or, without values, several; nothing of it reaches the client. */
export function runOwn(link: ServerLink, text: string, values?: readonly unknown[]): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    if (link.isRetired) {
      // Whoever began it has gone; an answer would never come.
      reject(new Error('the server connection is closed'));
      return;
    }
    const own = new OwnQuery((error, rows) => (error === null ? resolve(rows) : reject(error)));
    const note = { kind: 'own', query: own } as const;
    if (values === undefined) {
      link.queue.push(Kind.Query, Action.Skip, note);
      link.wire.write(query(text));
      return;
    }
    for (const kind of [Kind.Parse, Kind.Bind, Kind.Describe, Kind.Execute]) {
      link.queue.push(kind, Action.Skip, { kind: 'own-part', query: own });
    }
    link.queue.push(Kind.Sync, Action.Skip, note);
    link.wire.write(
      Buffer.concat([
        parse('', text),
        bind({ statement: '', values: values.map(asParameter) }),
        describe('P', ''),
        execute(),
        sync,
      ]),
    );
  });
}

export function linkExecutor(link: ServerLink): SqlExecutor {
  return {
    query: async <Result extends object>(text: string, values?: readonly unknown[]): Promise<Result[]> =>
      (await runOwn(link, text, values)) as Result[],
  };
}

/** A value in PostgreSQL's text form, as node-postgres would send it. */
function asParameter(value: unknown): string | Buffer | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return arrayLiteral(value);
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function arrayLiteral(values: readonly unknown[]): string {
  const elements = values.map((value) => {
    if (value === null || value === undefined) return 'NULL';
    if (Array.isArray(value)) return arrayLiteral(value);
    const text = asParameter(value);
    return `"${String(text).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  });
  return `{${elements.join(',')}}`;
}

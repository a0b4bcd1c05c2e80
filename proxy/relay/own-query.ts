/**
 * A query of ours on a server connection: its answers are swallowed from the client's stream and collected here.
 * For rare things (reset, DDL of tviews); the claim and the flush have notes of their own.
 */
import { getTypeParser } from 'pg-types';
import { Backend } from '../wire/codes.ts';
import { type ReceivedReport, readReport } from '../wire/messages/report.ts';

/** A server's ErrorResponse as an Error with node-postgres' property names. */
export class ServerError extends Error {
  override readonly name = 'ServerError';
  readonly report: ReceivedReport;
  readonly code: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly position: number | undefined;

  constructor(report: ReceivedReport) {
    super(report.message);
    this.report = report;
    this.code = report.code;
    this.detail = report.detail;
    this.hint = report.hint;
    this.position = report.position;
  }
}

type Row = Record<string, unknown>;

export class OwnQuery {
  readonly #done: (error: Error | null, rows: Row[]) => void;
  #columns: { readonly name: string; readonly parse: (text: string) => unknown }[] = [];
  #rows: Row[] = [];
  #error: Error | null = null;

  /** @param done called once, when the server is ready again or the connection is lost */
  constructor(done: (error: Error | null, rows: Row[]) => void) {
    this.#done = done;
  }

  /** A complete message of the server in `chunk[start, end)`, header included. */
  message(type: number, chunk: Buffer, start: number, end: number): void {
    if (type === Backend.RowDescription) {
      this.#columns = readColumns(chunk, start + 5);
      this.#rows = [];
    } else if (type === Backend.DataRow) {
      this.#rows.push(this.#readRow(chunk, start + 5));
    } else if (type === Backend.ErrorResponse) {
      this.#error ??= new ServerError(readReport(chunk.subarray(start + 5, end)));
    }
  }

  ready(): void {
    this.#done(this.#error, this.#rows);
  }

  lost(reason: Error): void {
    this.#done(reason, []);
  }

  #readRow(chunk: Buffer, from: number): Row {
    const row: Row = {};
    let at = from + 2;
    for (const column of this.#columns) {
      const length = chunk.readInt32BE(at);
      at += 4;
      if (length < 0) {
        row[column.name] = null;
      } else {
        row[column.name] = column.parse(chunk.toString('utf8', at, at + length));
        at += length;
      }
    }
    return row;
  }
}

function readColumns(chunk: Buffer, from: number): { name: string; parse: (text: string) => unknown }[] {
  const count = chunk.readInt16BE(from);
  const columns: { name: string; parse: (text: string) => unknown }[] = [];
  let at = from + 2;
  for (let index = 0; index < count; index += 1) {
    const end = chunk.indexOf(0, at);
    const name = chunk.toString('utf8', at, end);
    // table oid (4), attribute number (2), type oid (4), length (2), type modifier (4), format (2)
    const type = chunk.readUInt32BE(end + 7);
    columns.push({ name, parse: getTypeParser(type, 'text') as (text: string) => unknown });
    at = end + 19;
  }
  return columns;
}

/** Answers we give in a server's place. Constant messages are built once. */
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import { Backend } from '../wire/codes.ts';
import {
  errorResponse,
  errorResponseFromFields,
  errorResponseOf,
  noticeResponse,
} from '../wire/messages/report.ts';
import { Writer } from '../wire/messages/writer.ts';
import { ServerError } from './own-query.ts';

const empty = (type: number): Buffer => Buffer.from([type, 0, 0, 0, 4]);
export const parseComplete = empty(Backend.ParseComplete);
export const bindComplete = empty(Backend.BindComplete);
export const closeComplete = empty(Backend.CloseComplete);
export const noData = empty(Backend.NoData);
/** ParameterDescription of a statement without parameters. */
export const noParameters = Buffer.from([Backend.ParameterDescription, 0, 0, 0, 6, 0, 0]);

const TEXT_OID = 25;

/** What a statement of ours has to show. */
export interface OwnResult {
  readonly tag: string;
  readonly notices: readonly {
    readonly severity: 'NOTICE' | 'WARNING';
    readonly message: string;
    readonly detail?: string | undefined;
    readonly hint?: string | undefined;
  }[];
  /** For the function forms: one row of one text column. */
  readonly row?: { readonly column: string; readonly value: string };
}

export function rowDescription(column: string): Buffer {
  return new Writer()
    .addInt16(1)
    .addCString(column)
    .addInt32(0)
    .addInt16(0)
    .addInt32(TEXT_OID)
    .addInt16(-1)
    .addInt32(-1)
    .addInt16(0)
    .flush(Backend.RowDescription);
}

export function commandComplete(tag: string): Buffer {
  return new Writer().addCString(tag).flush(Backend.CommandComplete);
}

/** Notices, row and tag, in protocol order; `described`: with the row's description. */
export function encodeResult(result: OwnResult, described: boolean): Uint8Array[] {
  const messages: Uint8Array[] = result.notices.map((notice) => noticeResponse({ code: '00000', ...notice }));
  if (result.row !== undefined) {
    if (described) messages.push(rowDescription(result.row.column));
    messages.push(new Writer().addInt16(1).addInt32PrefixedString(result.row.value).flush(Backend.DataRow));
  }
  messages.push(commandComplete(result.tag));
  return messages;
}

/** Any error as the client shall see it: the server's with all its fields, ours with detail, hint and position. */
export function encodeError(error: unknown): Uint8Array {
  if (error instanceof TviewsError) return errorResponseOf('ERROR', error);
  if (error instanceof ServerError) return errorResponseFromFields(error.report.fields);
  return errorResponse({
    severity: 'ERROR',
    code: SqlState.internalError,
    message: error instanceof Error ? error.message : String(error),
  });
}

/** ErrorResponse and NoticeResponse (manual: "Error and Notice Message Fields"). */
import { SqlState, type TviewsError } from '../../../src/errors/errors.ts';
import { Backend } from '../codes.ts';
import { Writer } from './writer.ts';

export type ErrorSeverity = 'ERROR' | 'FATAL' | 'PANIC';
export type NoticeSeverity = 'WARNING' | 'NOTICE' | 'DEBUG' | 'INFO' | 'LOG';

export interface Report<Severity extends string> {
  readonly severity: Severity;
  readonly code: string;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  /** Character of the query the report points at, from 1. */
  readonly position?: number | undefined;
}

/** A report as it was received: the well-known fields, and all of them by their letters to be passed on. */
export interface ReceivedReport extends Report<string> {
  readonly fields: ReadonlyMap<string, string>;
}

export function errorResponse(report: Report<ErrorSeverity>): Buffer {
  return write(Backend.ErrorResponse, fieldsOf(report));
}

export function noticeResponse(report: Report<NoticeSeverity>): Buffer {
  return write(Backend.NoticeResponse, fieldsOf(report));
}

/** The ErrorResponse for an error of ours. */
export function errorResponseOf(severity: ErrorSeverity, error: TviewsError): Buffer {
  return errorResponse({
    severity,
    code: error.code,
    message: error.message,
    detail: error.detail,
    hint: error.hint,
    position: error.position,
  });
}

/** Another server's report, passed on with every field it had. */
export function errorResponseFromFields(fields: ReadonlyMap<string, string>): Buffer {
  return write(Backend.ErrorResponse, fields);
}

/**
 * An ErrorResponse with another name in it, byte for byte otherwise: nobody knows the encoding or the language.
 * @param from with its terminating zero
 * @param to as latin1
 */
export function renamedReport(message: Buffer, from: Buffer, to: string): Buffer {
  const name = from.subarray(0, -1);
  const at = message.indexOf(name);
  if (at < 0) return message;
  const renamed = Buffer.concat([
    message.subarray(0, at),
    Buffer.from(to, 'latin1'),
    message.subarray(at + name.length),
  ]);
  renamed.writeUInt32BE(renamed.length - 1, 1);
  return renamed;
}

/**
 * Reads as much as there is and never throws: a server whose error lacks its code, or breaks off in the middle of
 * a field, must not bring the proxy down (CVE-2026-6666 in PgBouncer).
 */
export function readReport(body: Buffer): ReceivedReport {
  const fields = new Map<string, string>();
  let offset = 0;
  while (offset < body.length) {
    const letter = body.readUInt8(offset);
    if (letter === 0) break;
    const zero = body.indexOf(0, offset + 1);
    const end = zero < 0 ? body.length : zero;
    fields.set(String.fromCharCode(letter), body.toString('utf8', offset + 1, end));
    offset = end + 1;
  }
  const position = Number(fields.get('P'));
  return {
    // V is never translated, S is; servers before 9.6 send only S.
    severity: fields.get('V') ?? fields.get('S') ?? 'ERROR',
    code: fields.get('C') ?? SqlState.internalError,
    message: fields.get('M') ?? 'the server sent a report without a message',
    detail: fields.get('D'),
    hint: fields.get('H'),
    position: Number.isSafeInteger(position) && position > 0 ? position : undefined,
    fields,
  };
}

function fieldsOf(report: Report<string>): Map<string, string> {
  const fields = new Map([
    ['S', report.severity],
    ['V', report.severity],
    ['C', report.code],
    ['M', report.message],
  ]);
  if (report.detail !== undefined) fields.set('D', report.detail);
  if (report.hint !== undefined) fields.set('H', report.hint);
  if (report.position !== undefined) fields.set('P', String(report.position));
  return fields;
}

function write(code: number, fields: ReadonlyMap<string, string>): Buffer {
  const writer = new Writer();
  for (const [letter, value] of fields) {
    // A report may quote what a client sent; refusing it for a zero byte would hide the error it is about.
    writer.addString(letter).addCString(value.replaceAll('\0', ''));
  }
  return writer.addCString('').flush(code);
}

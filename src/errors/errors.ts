/**
 * Every error of ours: a class that knows its SQLSTATE, detail, hint and place, and so looks the same on the wire,
 * on the terminal and in the log. Messages are in PostgreSQL's style: lower case, no full stop; detail and hint are sentences.
 */

/** SQLSTATEs we raise, by PostgreSQL's condition names (appendix A of the manual). */
export const SqlState = {
  protocolViolation: '08P01',
  connectionFailure: '08006',
  cannotConnectNow: '57P03',
  adminShutdown: '57P01',
  queryCanceled: '57014',
  featureNotSupported: '0A000',
  invalidAuthorization: '28000',
  invalidPassword: '28P01',
  invalidCatalogName: '3D000',
  invalidSqlStatementName: '26000',
  duplicatePreparedStatement: '42P05',
  activeSqlTransaction: '25001',
  syntaxError: '42601',
  insufficientPrivilege: '42501',
  undefinedTable: '42P01',
  undefinedColumn: '42703',
  undefinedObject: '42704',
  undefinedFunction: '42883',
  duplicateTable: '42P07',
  invalidTableDefinition: '42P16',
  wrongObjectType: '42809',
  objectNotInPrerequisiteState: '55000',
  dependentObjectsStillExist: '2BP01',
  cardinalityViolation: '21000',
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  lockNotAvailable: '55P03',
  tooManyConnections: '53300',
  invalidParameterValue: '22023',
  configFileError: 'F0000',
  internalError: 'XX000',
} as const;

export type SqlStateCode = (typeof SqlState)[keyof typeof SqlState];

export interface ErrorFields {
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  /** Character of the statement the error points at, from 1 (the protocol's `P` field). */
  readonly position?: number | undefined;
  readonly cause?: unknown;
}

/** An error of ours, with what the client and the operator need to mend it. */
export class TviewsError extends Error {
  override readonly name: string = 'TviewsError';
  /** SQLSTATE; the same property name as node-postgres' DatabaseError. */
  readonly code: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly position: number | undefined;

  constructor(code: string, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.detail = fields.detail;
    this.hint = fields.hint;
    this.position = fields.position;
  }
}

/**
 * A definition that cannot be kept exactly in step: names the table, the construct, the reason and the way out.
 * SQLSTATE 0A000 (feature not supported).
 */
export class RefusedDefinition extends TviewsError {
  override readonly name = 'RefusedDefinition';
  constructor(message: string, fields: { detail: string; hint: string; position?: number | undefined }) {
    super(SqlState.featureNotSupported, message, fields);
  }
}

/** Where a server is, who we are there, and what can go wrong on the way in. */
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import type { ServerCredentials } from '../wire/authentication/secret.ts';
import type { ReceivedReport } from '../wire/messages/report.ts';
import type { SocketAddress } from '../wire/socket.ts';

export interface ServerAddress {
  /** Name or address; a directory with a Unix socket in it where it begins with `/`. */
  readonly host: string;
  readonly port: number;
  /** For everything from connecting to ReadyForQuery (PgBouncer: server_connect_timeout). */
  readonly connectTimeoutMs: number;
}

export interface ServerTarget extends ServerAddress {
  readonly database: string;
  readonly user: string;
  readonly credentials: ServerCredentials | null;
  /** Sent in the startup packet; never a client's on a connection that serves auth_query (CVE-2025-12819). */
  readonly startupParameters?: Iterable<readonly [name: string, value: string]>;
  readonly applicationName?: string;
}

/** Why there is no server connection. */
export type LoginFailure =
  /** The server said no: `report` is its ErrorResponse. */
  | { readonly kind: 'refused'; readonly report: ReceivedReport }
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'timeout' }
  /** The server asks for a proof we do not have. */
  | { readonly kind: 'credentials' }
  | { readonly kind: 'protocol' }
  /** By the caller's signal. */
  | { readonly kind: 'aborted' };

export class ServerLoginError extends TviewsError {
  override readonly name = 'ServerLoginError';
  readonly failure: LoginFailure;

  constructor(
    failure: LoginFailure,
    code: string,
    message: string,
    fields: ConstructorParameters<typeof TviewsError>[2] = {},
  ) {
    super(code, message, fields);
    this.failure = failure;
  }

  static refused(report: ReceivedReport): ServerLoginError {
    const { detail, hint, position } = report;
    return new ServerLoginError({ kind: 'refused', report }, report.code, report.message, {
      detail,
      hint,
      position,
    });
  }

  static unreachable(target: ServerAddress, cause: unknown): ServerLoginError {
    const reason = cause instanceof Error && cause.message !== '' ? cause.message : reasonOf(cause);
    return new ServerLoginError(
      { kind: 'unreachable' },
      SqlState.connectionFailure,
      `could not connect to server at ${describeAddress(target)}`,
      { detail: `${reason}.`, hint: 'Is the server running there and accepting connections?', cause },
    );
  }

  static timeout(target: ServerAddress): ServerLoginError {
    return new ServerLoginError(
      { kind: 'timeout' },
      SqlState.connectionFailure,
      `connecting to server at ${describeAddress(target)} took longer than ${target.connectTimeoutMs} ms`,
      { hint: 'Raise server_connect_timeout if the server needs more time to accept a connection.' },
    );
  }

  static protocol(message: string, detail?: string): ServerLoginError {
    return new ServerLoginError({ kind: 'protocol' }, SqlState.protocolViolation, message, { detail });
  }
}

/** Node gives one error for several addresses of a name; the first tells enough. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message;
  return String(cause);
}

export function socketAddress({ host, port }: ServerAddress): SocketAddress {
  return host.startsWith('/')
    ? { kind: 'unix', path: `${host}/.s.PGSQL.${port}` }
    : { kind: 'tcp', host, port };
}

export function describeAddress(address: ServerAddress): string {
  const socket = socketAddress(address);
  return socket.kind === 'unix' ? `"${socket.path}"` : `"${socket.host}", port ${socket.port}`;
}

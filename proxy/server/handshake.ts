/**
 * Logs in to a server, from connecting to its first ReadyForQuery (manual: "Start-up"; protocol 3.0).
 * Everything the server sends is checked: it may be somebody else's machine at the end of a wrong address.
 */
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import {
  checkServerFinal,
  clientFirst,
  proveToServer,
  SCRAM_MECHANISM,
} from '../wire/authentication/scram.ts';
import { md5Hash, md5Response } from '../wire/authentication/secret.ts';
import { Backend, TransactionStatus } from '../wire/codes.ts';
import type { WholeMessage } from '../wire/messages/assembler.ts';
import {
  type AuthenticationRequest,
  passwordMessage,
  readAuthentication,
  saslInitialResponse,
  saslResponse,
} from '../wire/messages/authentication.ts';
import { readReport } from '../wire/messages/report.ts';
import { readBackendKeyData, readParameterStatus, readReadyForQuery } from '../wire/messages/session.ts';
import { startupMessage } from '../wire/messages/startup.ts';
import type { WireSocket } from '../wire/socket.ts';
import { connectTo } from './connect.ts';
import { Conversation } from './conversation.ts';
import { ServerLoginError, type ServerTarget } from './target.ts';

/** A server connection at its first ReadyForQuery. */
export interface ServerLogin {
  readonly wire: WireSocket;
  /** Process id and secret for cancel requests; 0 and empty where the server gave none, as some poolers do. */
  readonly pid: number;
  readonly secret: Buffer;
  /** Every ParameterStatus, by name. */
  readonly parameters: Map<string, string>;
  /** Bytes behind the ReadyForQuery, for the relay's receiver; nearly always empty. */
  readonly leftover: Buffer;
}

/** Larger than any message of a login, error reports included. */
const MAX_LOGIN_MESSAGE = 262_144;

/**
 * The caller must set the socket's receivers in the same turn in which the promise settles.
 * @throws ServerLoginError, always; nothing is left open then.
 */
export async function connectServer(target: ServerTarget, signal?: AbortSignal): Promise<ServerLogin> {
  if (signal?.aborted) throw aborted(signal);
  const deadline = Date.now() + target.connectTimeoutMs;
  const wire = await connectTo(target);
  const conversation = new Conversation(wire, MAX_LOGIN_MESSAGE, (error) =>
    error === null
      ? new ServerLoginError(
          { kind: 'unreachable' },
          SqlState.connectionFailure,
          'server closed the connection during login',
        )
      : ServerLoginError.unreachable(target, error),
  );
  const timer = setTimeout(
    () => conversation.fail(ServerLoginError.timeout(target)),
    Math.max(1, deadline - Date.now()),
  );
  const abort = () => conversation.fail(aborted(signal!));
  // Also for an abort while we were connecting.
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await logIn(wire, conversation, target);
  } catch (error) {
    wire.destroy();
    throw asLoginError(error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

async function logIn(
  wire: WireSocket,
  conversation: Conversation,
  target: ServerTarget,
): Promise<ServerLogin> {
  conversation.send(startupMessage(startupParameters(target)));
  await authenticate(conversation, target);

  const parameters = new Map<string, string>();
  let key: { readonly pid: number; readonly secret: Buffer } = { pid: 0, secret: Buffer.alloc(0) };
  for (;;) {
    const message = await nextOf(conversation);
    switch (message.code) {
      case Backend.ParameterStatus: {
        const { name, value } = readParameterStatus(message.body);
        parameters.set(name, value);
        break;
      }
      case Backend.BackendKeyData:
        key = readBackendKeyData(message.body);
        break;
      case Backend.ReadyForQuery: {
        if (readReadyForQuery(message.body) !== TransactionStatus.idle) {
          throw ServerLoginError.protocol('server is in a transaction after login');
        }
        return { wire, ...key, parameters, leftover: conversation.finish() };
      }
      default:
        throw unexpected(message);
    }
  }
}

function startupParameters(target: ServerTarget): Map<string, string> {
  const parameters = new Map(target.startupParameters);
  if (target.applicationName !== undefined) parameters.set('application_name', target.applicationName);
  parameters.set('user', target.user);
  parameters.set('database', target.database);
  return parameters;
}

/** The next message that says something about the login; an error ends it, notices pass. */
async function nextOf(conversation: Conversation): Promise<WholeMessage> {
  for (;;) {
    const message = await conversation.next();
    if (message.code === Backend.ErrorResponse) throw ServerLoginError.refused(readReport(message.body));
    if (message.code !== Backend.NoticeResponse) return message;
  }
}

async function nextAuthentication(conversation: Conversation): Promise<AuthenticationRequest> {
  const message = await nextOf(conversation);
  if (message.code !== Backend.Authentication) throw unexpected(message);
  return readAuthentication(message.body);
}

/** Until AuthenticationOk. */
async function authenticate(conversation: Conversation, target: ServerTarget): Promise<void> {
  const { credentials, user } = target;
  const request = await nextAuthentication(conversation);
  switch (request.kind) {
    case 'ok':
      return;
    case 'cleartext':
      if (credentials?.kind !== 'password') throw missingCredentials(target, 'a password in clear text');
      conversation.send(passwordMessage(credentials.password));
      break;
    case 'md5': {
      if (credentials === null || credentials.kind === 'scram-keys')
        throw missingCredentials(target, 'an md5 password');
      const hash = credentials.kind === 'md5' ? credentials.hash : md5Hash(user, credentials.password);
      conversation.send(passwordMessage(md5Response(hash, request.salt)));
      break;
    }
    case 'sasl':
      await authenticateScram(conversation, target, request.mechanisms);
      break;
    case 'unsupported':
      throw new ServerLoginError(
        { kind: 'credentials' },
        SqlState.featureNotSupported,
        `server asks for an authentication method that is not supported (code ${request.code})`,
        { hint: 'Supported are trust, password, md5 and scram-sha-256 in the pg_hba.conf of the server.' },
      );
    default:
      throw ServerLoginError.protocol('unexpected SASL message from server');
  }
  const verdict = await nextAuthentication(conversation);
  if (verdict.kind !== 'ok') throw ServerLoginError.protocol('server asks for authentication twice');
}

async function authenticateScram(
  conversation: Conversation,
  target: ServerTarget,
  mechanisms: readonly string[],
): Promise<void> {
  const { credentials } = target;
  if (!mechanisms.includes(SCRAM_MECHANISM)) {
    throw ServerLoginError.protocol(
      'none of the SASL authentication mechanisms of the server are supported',
      `It offers: ${mechanisms.join(', ').slice(0, 200)}.`,
    );
  }
  if (credentials === null || credentials.kind === 'md5') throw missingCredentials(target, 'a SCRAM proof');
  const first = clientFirst();
  conversation.send(saslInitialResponse(SCRAM_MECHANISM, first.gs2Header + first.bare));
  const answer = await nextAuthentication(conversation);
  if (answer.kind !== 'sasl-continue') throw ServerLoginError.protocol('unexpected SASL message from server');
  const proof = await proveToServer(first, answer.data, credentials);
  conversation.send(saslResponse(proof.clientFinal));
  const final = await nextAuthentication(conversation);
  // AuthenticationOk in its place would be from a server that cannot prove it knows the secret.
  if (final.kind !== 'sasl-final')
    throw ServerLoginError.protocol('server did not complete the SASL exchange');
  checkServerFinal(final.data, proof.serverSignature);
}

function missingCredentials(target: ServerTarget, wanted: string): ServerLoginError {
  return new ServerLoginError(
    { kind: 'credentials' },
    SqlState.invalidPassword,
    `server asks for ${wanted} for user "${target.user}", and what is known of it does not suffice`,
    {
      detail:
        target.credentials === null
          ? 'Nothing is known of the user but the name.'
          : 'A password in clear text suffices for every method, an md5 hash only for md5, and the keys of a SCRAM login only for scram-sha-256.',
      hint: 'Give the password of the user in auth_file or in the connection string of the database.',
    },
  );
}

function unexpected(message: WholeMessage): ServerLoginError {
  return ServerLoginError.protocol(
    `unexpected message type 0x${message.code.toString(16)} from server during login`,
  );
}

function aborted(signal: AbortSignal): ServerLoginError {
  return new ServerLoginError(
    { kind: 'aborted' },
    SqlState.connectionFailure,
    'login to server was aborted',
    {
      cause: signal.reason,
    },
  );
}

function asLoginError(error: unknown): ServerLoginError {
  if (error instanceof ServerLoginError) return error;
  if (error instanceof TviewsError) {
    return new ServerLoginError({ kind: 'protocol' }, error.code, error.message, {
      detail: error.detail,
      hint: error.hint,
      cause: error,
    });
  }
  return new ServerLoginError({ kind: 'protocol' }, SqlState.internalError, 'login to server failed', {
    cause: error,
  });
}

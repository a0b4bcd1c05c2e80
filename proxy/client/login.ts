/**
 * A client from its first byte to the moment it is known who it is: encryption requests, cancel requests, the startup
 * packet and authentication. What is sent from AuthenticationOk on, and everything after, is the relay's.
 *
 * ```
 *            SSLRequest, GSSENCRequest: 'N' (once each)
 *                 ┌───┐
 *                 │   ▼
 *  accept ──▶ opening ──CancelRequest──▶ cancelling ──cancel ended──▶ ended
 *                 │
 *                 │ StartupMessage [NegotiateProtocolVersion]
 *                 ├── trust, any ─────────────────────────────────────────────┐
 *                 ├── md5, plain ──▶ password ── PasswordMessage ──▶ verifying ┤
 *                 └── scram ──▶ sasl-initial ── SASLInitialResponse ──┐    ▲   ├──▶ authenticated (the relay's)
 *                                    │ no data                        ▼    │   │
 *                                    └──▶ sasl-first ── SASLResponse ─▶ sasl-final
 *
 *  in every state: bad bytes, client_login_timeout, refusal ──▶ ErrorResponse FATAL ──▶ ended;  socket closed ──▶ ended
 * ```
 */
import { randomBytes } from 'node:crypto';
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import {
  challenge,
  readClientFirst,
  SCRAM_MECHANISM,
  type ScramChallenge,
} from '../wire/authentication/scram.ts';
import { credentialsFrom, type ServerCredentials, type UserSecret } from '../wire/authentication/secret.ts';
import { Frontend } from '../wire/codes.ts';
import { MessageAssembler } from '../wire/messages/assembler.ts';
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  readPassword,
  readSaslInitialResponse,
} from '../wire/messages/authentication.ts';
import { MalformedMessage } from '../wire/messages/reader.ts';
import { errorResponseOf } from '../wire/messages/report.ts';
import {
  negotiateProtocolVersion,
  readOpeningPacket,
  type StartupMessage,
} from '../wire/messages/startup.ts';
import { TrackedParameters } from '../wire/parameters.ts';
import type { WireSocket } from '../wire/socket.ts';
import { type AuthType, chooseMethod, scramTerms } from './method.ts';
import { checkCleartext, checkMd5, checkScram } from './proof.ts';
import { readStartupRequest, type StartupRequest } from './startup-parameters.ts';

export interface ClientSettings {
  readonly authType: AuthType;
  readonly ignoreStartupParameters: ReadonlySet<string>;
  /** 0: no limit. */
  readonly clientLoginTimeoutMs: number;
  /** Default: PgBouncer's list. */
  readonly trackedParameters?: TrackedParameters;
}

/** What pino offers, and all that is used of it here. */
export interface ClientLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ClientDeps {
  readonly settings: ClientSettings;
  /** Null: no auth_file is configured. */
  readonly users: ReadonlyMap<string, UserSecret> | null;
  databaseExists(name: string): boolean;
  /** Settles when the cancel has ended; the client waits for the end of its connection until then. */
  cancel(key: Buffer): Promise<void>;
  /** Must set the socket's receivers before it returns. */
  authenticated(login: ClientLogin): void;
  readonly log: ClientLog;
}

export interface ClientLogin {
  readonly wire: WireSocket;
  readonly user: string;
  readonly database: string;
  /** Tracked parameters the client asked for, by PostgreSQL's spelling of their names. */
  readonly parameters: Map<string, string>;
  /** Null: nothing is known that would convince a server which asks for a password. */
  readonly credentials: ServerCredentials | null;
  /** Bytes the client sent behind its last message of the login. */
  readonly leftover: Buffer;
}

type LoginState =
  | { readonly kind: 'opening'; readonly sslRefused: boolean; readonly gssRefused: boolean }
  | { readonly kind: 'cancelling' }
  | {
      readonly kind: 'password';
      readonly request: StartupRequest;
      readonly method: 'cleartext' | 'md5';
      readonly salt: Buffer;
    }
  | { readonly kind: 'sasl-initial'; readonly request: StartupRequest }
  | { readonly kind: 'sasl-first'; readonly request: StartupRequest }
  | { readonly kind: 'sasl-final'; readonly request: StartupRequest; readonly asked: ScramChallenge }
  | { readonly kind: 'verifying' }
  | { readonly kind: 'authenticated' }
  | { readonly kind: 'ended' };

/** Startup packets may hold long options; nobody needs more, and anybody may send one before they are known. */
const MAX_LOGIN_PACKET = 65_536;
/** How long a refused client has to read why and to close. */
const LINGER_MS = 5_000;

const REFUSED_ENCRYPTION = Buffer.from('N');
const DEFAULT_TRACKED = new TrackedParameters();

/** Makes salts for names without one; another in each process, so that they cannot be computed outside. */
const MOCK_KEY = randomBytes(32);
export function acceptClient(wire: WireSocket, deps: ClientDeps): void {
  new ClientLoginMachine(wire, deps).start();
}

class ClientLoginMachine {
  readonly #wire: WireSocket;
  readonly #deps: ClientDeps;
  readonly #input = new MessageAssembler(MAX_LOGIN_PACKET);
  #state: LoginState = { kind: 'opening', sslRefused: false, gssRefused: false };
  #timer: NodeJS.Timeout | undefined;

  constructor(wire: WireSocket, deps: ClientDeps) {
    this.#wire = wire;
    this.#deps = deps;
  }

  start(): void {
    const onClose = this.#wire.onClose;
    this.#wire.onBytes = (chunk) => this.#receive(chunk);
    // Whoever accepted the connection may keep count of it: their receiver is told too, until the login is handed over.
    this.#wire.onClose = (error) => {
      clearTimeout(this.#timer);
      this.#state = { kind: 'ended' };
      onClose(error);
    };
    const limit = this.#deps.settings.clientLoginTimeoutMs;
    if (limit > 0) this.#timer = setTimeout(() => this.#timedOut(), limit);
  }

  #receive(chunk: Buffer): void {
    if (this.#state.kind === 'cancelling' || this.#state.kind === 'ended') return;
    this.#input.push(chunk);
    this.#advance();
  }

  /** Takes one whole message after the other until one is missing or the state is no longer one that reads. */
  #advance(): void {
    try {
      while (this.#step());
    } catch (error) {
      this.#refuse(error);
    }
  }

  #step(): boolean {
    const state = this.#state;
    switch (state.kind) {
      case 'opening': {
        const packet = this.#input.startupPacket();
        if (packet === null) return false;
        this.#open(packet, state);
        return true;
      }
      case 'password':
      case 'sasl-initial':
      case 'sasl-first':
      case 'sasl-final': {
        const message = this.#input.message();
        if (message === null) return false;
        if (message.code === Frontend.Terminate) {
          this.#end();
          return false;
        }
        if (message.code !== Frontend.Password) {
          throw new MalformedMessage(
            `expected ${state.kind === 'password' ? 'password' : 'SASL'} response, got message type ${message.code}`,
          );
        }
        this.#answer(message.body, state);
        return true;
      }
      default:
        return false;
    }
  }

  // ---------------------------------------------------------------------------------------------- startup

  #open(packet: Buffer, state: Extract<LoginState, { kind: 'opening' }>): void {
    const opening = readOpeningPacket(packet);
    switch (opening.kind) {
      case 'ssl-request':
        if (state.sslRefused) throw unsupportedVersion(1234, 5679);
        this.#refuseEncryption('SSL');
        this.#state = { ...state, sslRefused: true };
        return;
      case 'gss-enc-request':
        if (state.gssRefused) throw unsupportedVersion(1234, 5680);
        this.#refuseEncryption('GSSAPI encryption');
        this.#state = { ...state, gssRefused: true };
        return;
      case 'unsupported-version':
        throw unsupportedVersion(opening.major, opening.minor);
      case 'cancel':
        this.#cancel(opening.key);
        return;
      case 'startup':
        this.#startup(opening);
    }
  }

  /**
   * Bytes behind the request were sent before our answer: were they taken, somebody between the client and us could
   * put them in front of what the client sends once it is encrypted (CVE-2021-23222, CVE-2021-3935). We refuse
   * encryption and nothing is gained by it, but the rule is PostgreSQL's and holds for whoever adds TLS here.
   */
  #refuseEncryption(request: string): void {
    if (this.#input.buffered > 0) {
      throw new MalformedMessage(
        `received unencrypted data after ${request} request`,
        'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
      );
    }
    this.#wire.write(REFUSED_ENCRYPTION);
  }

  #cancel(key: Buffer): void {
    this.#state = { kind: 'cancelling' };
    clearTimeout(this.#timer);
    // Whoever asks learns nothing of the outcome, as with PostgreSQL; libpq waits for the end of the connection.
    this.#deps
      .cancel(key)
      .catch((error: unknown) => this.#deps.log.error({ err: error }, 'cancel request failed'))
      .finally(() => this.#end());
  }

  #startup(message: StartupMessage): void {
    const { settings, users } = this.#deps;
    if (message.minor > 0 || message.protocolOptions.length > 0) {
      this.#wire.write(negotiateProtocolVersion(message.protocolOptions));
    }
    const request = readStartupRequest(message, {
      ignoreStartupParameters: settings.ignoreStartupParameters,
      tracked: settings.trackedParameters ?? DEFAULT_TRACKED,
    });
    this.#deps.log.debug({ user: request.user, database: request.database }, 'login attempt');
    const method = chooseMethod(settings.authType, request.user, users);
    switch (method) {
      case 'none':
        // With `any` the name means nothing, so neither does the secret that belongs to it.
        this.#succeed(
          request,
          settings.authType === 'any' ? null : credentialsFrom(users?.get(request.user)),
        );
        return;
      case 'rejected-trust':
        this.#deps.log.info({ user: request.user }, 'login failed: no such user');
        throw new TviewsError(SqlState.invalidAuthorization, '"trust" authentication failed');
      case 'cleartext':
      case 'md5': {
        const salt = randomBytes(4);
        this.#wire.write(
          method === 'md5' ? authenticationMd5Password(salt) : authenticationCleartextPassword,
        );
        this.#state = { kind: 'password', request, method, salt };
        return;
      }
      case 'scram-sha-256':
        this.#wire.write(authenticationSasl([SCRAM_MECHANISM]));
        this.#state = { kind: 'sasl-initial', request };
    }
  }

  // ---------------------------------------------------------------------------------------------- authentication

  #answer(
    body: Buffer,
    state: Extract<LoginState, { kind: 'password' | 'sasl-initial' | 'sasl-first' | 'sasl-final' }>,
  ): void {
    switch (state.kind) {
      case 'password': {
        const password = readPassword(body);
        if (password === '')
          throw new TviewsError(SqlState.invalidPassword, 'empty password returned by client');
        const { user } = state.request;
        this.#verify(state.request, async () =>
          state.method === 'md5'
            ? checkMd5(user, this.#secretOf(user), password, state.salt)
            : checkCleartext(user, this.#secretOf(user), password),
        );
        return;
      }
      case 'sasl-initial': {
        const { mechanism, data } = readSaslInitialResponse(body);
        if (mechanism !== SCRAM_MECHANISM) {
          throw new MalformedMessage('client selected an invalid SASL authentication mechanism');
        }
        if (data === null) {
          // RFC 4422: a client that does not speak first is asked to with an empty challenge.
          this.#wire.write(authenticationSaslContinue(''));
          this.#state = { kind: 'sasl-first', request: state.request };
        } else {
          this.#challenge(state.request, data);
        }
        return;
      }
      case 'sasl-first':
        this.#challenge(state.request, body.toString('utf8'));
        return;
      case 'sasl-final': {
        const { user } = state.request;
        this.#verify(state.request, async () => {
          const verdict = await checkScram(
            user,
            this.#secretOf(user),
            body.toString('utf8'),
            state.asked,
            MOCK_KEY,
          );
          if (verdict === null) return null;
          if (this.#state.kind === 'verifying')
            this.#wire.write(authenticationSaslFinal(verdict.serverFinal));
          return verdict.credentials;
        });
      }
    }
  }

  #challenge(request: StartupRequest, clientFirst: string): void {
    const { salt, iterations } = scramTerms(request.user, this.#secretOf(request.user), MOCK_KEY);
    const asked = challenge(readClientFirst(clientFirst), salt, iterations);
    this.#wire.write(authenticationSaslContinue(asked.serverFirst));
    this.#state = { kind: 'sasl-final', request, asked };
  }

  /** Nothing more is read until the verdict is there: what arrives meanwhile waits in the kernel. */
  #verify(request: StartupRequest, check: () => Promise<ServerCredentials | null>): void {
    this.#state = { kind: 'verifying' };
    this.#wire.pause();
    check().then(
      (credentials) => {
        if (this.#state.kind !== 'verifying') return;
        this.#wire.resume();
        if (credentials !== null) this.#succeed(request, credentials);
        else {
          this.#refuse(
            new TviewsError(
              SqlState.invalidPassword,
              `password authentication failed for user "${request.user}"`,
            ),
          );
        }
      },
      (error: unknown) => {
        if (this.#state.kind !== 'verifying') return;
        this.#wire.resume();
        this.#refuse(error);
      },
    );
  }

  // ---------------------------------------------------------------------------------------------- outcomes

  #secretOf(user: string): UserSecret | undefined {
    return this.#deps.users?.get(user);
  }

  #succeed(request: StartupRequest, credentials: ServerCredentials | null): void {
    // Only somebody who has proved who they are learns which databases there are.
    if (!this.#deps.databaseExists(request.database)) {
      this.#refuse(
        new TviewsError(SqlState.invalidCatalogName, `database "${request.database}" does not exist`),
      );
      return;
    }
    clearTimeout(this.#timer);
    this.#state = { kind: 'authenticated' };
    this.#deps.authenticated({ wire: this.#wire, ...request, credentials, leftover: this.#input.rest() });
  }

  #timedOut(): void {
    if (this.#state.kind === 'verifying') this.#wire.resume();
    this.#refuse(
      new TviewsError(SqlState.protocolViolation, 'client_login_timeout', {
        detail: `The client did not complete its login within ${this.#deps.settings.clientLoginTimeoutMs} ms.`,
      }),
    );
  }

  #refuse(error: unknown): void {
    if (this.#state.kind === 'ended') return;
    if (this.#state.kind === 'authenticated') {
      // The relay threw while it took the client over; what the client was told since then is not known here.
      this.#deps.log.error({ err: error }, 'session could not be started');
      this.#wire.destroy();
      return;
    }
    if (error instanceof TviewsError) {
      this.#deps.log.info({ code: error.code, detail: error.detail }, `login failed: ${error.message}`);
      this.#end(errorResponseOf('FATAL', error));
      return;
    }
    // A fault of ours: the client gets a code to ask about, the log gets the rest.
    this.#deps.log.error({ err: error }, 'login failed on an internal error');
    this.#end(
      errorResponseOf('FATAL', new TviewsError(SqlState.internalError, 'internal error during login')),
    );
  }

  /**
   * Says goodbye and goes on reading, into nothing: closing with unread bytes would reset the connection, and the
   * client would lose the message that says why. A client that does not close is closed after a while.
   */
  #end(lastWords?: Buffer): void {
    clearTimeout(this.#timer);
    if (this.#state.kind === 'ended') return;
    this.#state = { kind: 'ended' };
    if (lastWords !== undefined) this.#wire.write(lastWords);
    this.#wire.end();
    this.#timer = setTimeout(() => this.#wire.destroy(), LINGER_MS);
    this.#timer.unref();
  }
}

function unsupportedVersion(major: number, minor: number): TviewsError {
  return new TviewsError(
    SqlState.featureNotSupported,
    `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.0`,
  );
}

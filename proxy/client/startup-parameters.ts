/** What a client asks for in its startup packet, sorted: who, where, and which session parameters. Pure. */
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import { readOptions, type StartupMessage } from '../wire/messages/startup.ts';
import type { TrackedParameters } from '../wire/parameters.ts';

export interface StartupRequest {
  readonly user: string;
  readonly database: string;
  /** Tracked parameters only, by PostgreSQL's spelling of their names. */
  readonly parameters: Map<string, string>;
}

export interface StartupRules {
  readonly ignoreStartupParameters: ReadonlySet<string>;
  readonly tracked: TrackedParameters;
}

/** @throws TviewsError, to be sent to the client as FATAL. */
export function readStartupRequest(message: StartupMessage, rules: StartupRules): StartupRequest {
  let user = '';
  let database = '';
  const parameters = new Map<string, string>();
  for (const [name, value] of message.parameters) {
    if (name === 'user') user = value;
    else if (name === 'database') database = value;
    else if (name === 'replication') refuseReplication(value);
    else if (name === 'options') takeOptions(value, rules, parameters);
    else if (!take(name, value, rules, parameters))
      throw unsupported(`unsupported startup parameter: ${name}`, name);
  }
  if (user === '') {
    throw new TviewsError(
      SqlState.invalidAuthorization,
      'no PostgreSQL user name specified in startup packet',
    );
  }
  return { user, database: database === '' ? user : database, parameters };
}

/** False: the parameter is neither tracked nor ignored. */
function take(name: string, value: string, rules: StartupRules, parameters: Map<string, string>): boolean {
  const canonical = rules.tracked.canonical(name);
  if (canonical !== null) {
    parameters.set(canonical, value);
    return true;
  }
  return rules.ignoreStartupParameters.has(name);
}

function takeOptions(options: string, rules: StartupRules, parameters: Map<string, string>): void {
  // "options" among the ignored parameters means: ignore the settings in it that are not known (PgBouncer).
  const lenient = rules.ignoreStartupParameters.has('options');
  for (const token of readOptions(options)) {
    if (token.kind === 'unsupported') {
      throw new TviewsError(
        SqlState.protocolViolation,
        "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
      );
    }
    if (!take(token.name, token.value, rules, parameters) && !lenient) {
      throw unsupported(`unsupported startup parameter in options: ${token.name}`, token.name);
    }
  }
}

function unsupported(message: string, name: string): TviewsError {
  return new TviewsError(SqlState.protocolViolation, message, {
    detail: 'The servers of a pool are shared: only parameters that PostgreSQL reports can follow a client.',
    hint: `Add ${name} to ignore_startup_parameters if it may be ignored.`,
  });
}

function refuseReplication(value: string): void {
  if (/^(?:false|off|no|0|f|n|of)$/i.test(value)) return;
  throw new TviewsError(SqlState.featureNotSupported, 'replication connections are not supported', {
    hint: 'Connect to the PostgreSQL server directly for replication.',
  });
}

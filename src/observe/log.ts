/**
 * The log: pino, one JSON object per line, or lines for people on a terminal. Never in it: passwords, bound values,
 * rows; of rows that differ from their definition the keys, because they are the alarm.
 */
import { closeSync, openSync } from 'node:fs';
import { type LoggerOptions, multistream, type Logger as PinoLogger, pino, type StreamEntry } from 'pino';
import pretty from 'pino-pretty';
import { SqlState, TviewsError } from '../errors/errors.ts';

export type Logger = PinoLogger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: 'auto' | 'json' | 'pretty';
  /** Also, or with `quiet` only, to this file. */
  readonly file?: string | null;
  /** Nothing to standard error (`-q`, `-d`). */
  readonly quiet?: boolean;
}

export function createLogger(options: LogOptions): Logger {
  const streams: StreamEntry[] = [];
  const forPeople =
    options.format === 'pretty' || (options.format === 'auto' && process.stderr.isTTY === true);
  if (options.quiet !== true) {
    streams.push({
      level: options.level,
      stream: forPeople
        ? pretty({
            destination: 2,
            sync: true,
            colorize: process.stderr.isTTY === true,
            translateTime: 'SYS:HH:MM:ss.l',
            ignore: 'pid,hostname',
          })
        : pino.destination({ dest: 2, sync: true }),
    });
  }
  if (options.file !== undefined && options.file !== null) {
    ensureWritable(options.file);
    streams.push({ level: options.level, stream: pino.destination({ dest: options.file, sync: false }) });
  }
  const configured: LoggerOptions = {
    level: streams.length === 0 ? 'silent' : options.level,
    base: { pid: process.pid },
    serializers: { err: describeError },
  };
  return pino(configured, multistream(streams));
}

/** A logger that says nothing: for tests and for what runs quietly. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

/** `verbose` and `-v` go before `log_level` where they ask for more. */
export function logLevel(configured: LogLevel, verbose: number): LogLevel {
  if (verbose >= 2) return 'trace';
  return verbose === 1 && configured !== 'trace' ? 'debug' : configured;
}

/** What of an error goes to the log. Not `detail` and `where`: PostgreSQL puts column values into them. */
function describeError(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code, hint, routine } = error as Error & Readonly<Record<string, unknown>>;
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(hint === undefined ? {} : { hint }),
    ...(routine === undefined ? {} : { routine }),
    stack: error.stack,
  };
}

/** Says it now, in one sentence, rather than from a stream later. */
function ensureWritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'));
  } catch (error) {
    throw new TviewsError(
      SqlState.configFileError,
      `could not open log file "${file}": ${(error as Error).message}`,
      { cause: error },
    );
  }
}

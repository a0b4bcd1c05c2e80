/**
 * What every command does the same way: results for people or as JSON, errors as one sentence with detail and hint,
 * progress as a bar on a terminal and as lines elsewhere, and the exit code.
 */
import { SingleBar } from 'cli-progress';
import { ConfigError, printPlace } from '../config/problem.ts';
import { TviewsError } from '../errors/errors.ts';

/** 0: ok. 1: something is wrong, or could not be done. 2: the command itself was wrong; of a plan: something would change. */
export type ExitCode = 0 | 1 | 2;

/** A stream of text, as much of it as the commands need. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** The world around a command: the process' own, or a test's. */
export interface Surroundings {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All of standard input. */
  readonly readStdin: () => Promise<string>;
  /** Calls `listener` at Ctrl-C in place of ending; gives what takes it back. A second Ctrl-C ends. */
  onInterrupt(listener: () => void): () => void;
  setExitCode(code: ExitCode): void;
}

export const processSurroundings: Surroundings = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  readStdin: async () => {
    process.stdin.setEncoding('utf8');
    let text = '';
    for await (const chunk of process.stdin) text += chunk;
    return text;
  },
  onInterrupt: (listener) => {
    let asked = false;
    const interrupted = (): void => {
      if (asked) process.exit(130);
      asked = true;
      listener();
    };
    process.on('SIGINT', interrupted);
    return () => process.off('SIGINT', interrupted);
  },
  setExitCode: (code) => {
    process.exitCode = code;
  },
};

/** A command that was called wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** An error with the place in a file it belongs to: `shop.sql:3:14`. */
export class ErrorInFile extends Error {
  override readonly name = 'ErrorInFile';
  readonly place: string;
  constructor(place: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.place = place;
  }
}

/** The outcome of a command: `data` with --json, `lines` for people; `ok: false` makes the exit code 1. */
export interface Outcome {
  readonly data: object;
  readonly lines: readonly string[];
  readonly ok?: boolean;
  /** Another than 0 where all is well. */
  readonly exitCode?: ExitCode;
}

/** Ended by an error after a part of the work, which stays done: both are told. */
export class IncompleteError extends Error {
  override readonly name = 'IncompleteError';
  readonly done: Outcome;
  constructor(done: Outcome, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.done = done;
  }
}

/** Steps of long work. */
export interface Progress {
  /** One of the steps begins. */
  step(label: string): void;
  /** How much of the step is done, from 0 to 1. */
  within(share: number): void;
  done(): void;
}

export interface Reporter {
  /** A line beside the result, for people: to standard error, so that results can be piped. */
  note(line: string): void;
  progress(title: string, total: number): Progress;
}

/** Runs a command's work, prints its outcome or its error, and sets the exit code. Never rejects. */
export async function runCommand(
  surroundings: Surroundings,
  json: boolean,
  work: (reporter: Reporter) => Promise<Outcome>,
): Promise<void> {
  try {
    const outcome = await work(reporterTo(surroundings.stderr));
    print(surroundings, json, outcome.data, outcome.lines);
    surroundings.setExitCode(outcome.ok === false ? 1 : (outcome.exitCode ?? 0));
  } catch (thrown) {
    const done = thrown instanceof IncompleteError ? thrown.done : null;
    const error = thrown instanceof IncompleteError ? thrown.cause : thrown;
    print(surroundings, json, { ...(done?.data ?? {}), error: describeError(error) }, done?.lines ?? []);
    if (!json) surroundings.stderr.write(printError(error));
    surroundings.setExitCode(error instanceof UsageError ? 2 : 1);
  }
}

function print({ stdout }: Surroundings, json: boolean, data: unknown, lines: readonly string[]): void {
  if (json) stdout.write(`${JSON.stringify(data, null, 2)}\n`);
  else if (lines.length > 0) stdout.write(`${lines.join('\n')}\n`);
}

interface DescribedError {
  readonly place?: string | undefined;
  readonly code?: string | undefined;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
}

export function describeError(error: unknown): DescribedError {
  if (error instanceof ErrorInFile) return { ...describeError(error.cause), place: error.place };
  if (!(error instanceof Error)) return { message: String(error) };
  // TviewsError and the server's errors (node-postgres) have the same fields.
  const { code, detail, hint } = error as Error & Readonly<Record<string, unknown>>;
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' && value !== '' ? value : undefined;
  return { code: text(code), message: error.message, detail: text(detail), hint: text(hint) };
}

/** As psql prints errors: the sentence, then DETAIL and HINT. A bug of ours shows its stack. */
export function printError(error: unknown): string {
  const { place, message, detail, hint } = describeError(error);
  const lines = [`${place === undefined ? 'error' : place}: ${message}`];
  if (detail !== undefined && !(error instanceof ConfigError)) lines.push(`DETAIL: ${detail}`);
  if (hint !== undefined) lines.push(`HINT: ${hint}`);
  if (error instanceof ConfigError) {
    // Message and hint are the first problem's; the others follow, each with its place and its own hint.
    for (const problem of error.problems.slice(1)) {
      lines.push(`${printPlace(problem.place)}: ${problem.message}`);
      if (problem.hint !== undefined) lines.push(`HINT: ${problem.hint}`);
    }
  }
  if (isBug(error)) lines.push(String((error as Error).stack));
  return `${lines.join('\n')}\n`;
}

function isBug(error: unknown): boolean {
  const inner = error instanceof ErrorInFile ? error.cause : error;
  if (inner instanceof TviewsError || inner instanceof UsageError) return false;
  return inner instanceof Error && (inner as NodeJS.ErrnoException).code === undefined;
}

/** Milliseconds between two lines about one step. */
const lineEvery = 5_000;

function reporterTo(stderr: TextStream): Reporter {
  const note = (line: string): void => {
    stderr.write(`${line}\n`);
  };
  return {
    note,
    progress: (title, total) => {
      if (stderr.isTTY === true && stderr instanceof Object && 'columns' in stderr) {
        const bar = new SingleBar({
          format: `${title} {bar} {begun}/{total} {step}`,
          stream: stderr as unknown as NodeJS.WritableStream,
          hideCursor: true,
          clearOnComplete: true,
        });
        bar.start(total, 0, { step: '', begun: 0 });
        let begun = 0;
        return {
          step: (label) => {
            begun += 1;
            bar.update(begun - 1, { step: label, begun });
          },
          within: (share) => bar.update(begun - 1 + share),
          done: () => {
            bar.update(total);
            bar.stop();
          },
        };
      }
      let begun = 0;
      let step = '';
      let said = 0;
      const say = (line: string): void => {
        said = performance.now();
        note(`${title} ${begun}/${total}: ${line}`);
      };
      return {
        step: (label) => {
          begun += 1;
          step = label;
          say(label);
        },
        // Somebody reads it later: no more lines than say that it goes on.
        within: (share) => {
          if (performance.now() - said >= lineEvery) say(`${step} ${Math.floor(share * 100)} %`);
        },
        done: () => undefined,
      };
    },
  };
}

/** Columns aligned as psql does without borders; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => String(row[column] ?? '').length)),
  );
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, column) =>
        typeof cell === 'number' ? String(cell).padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)];
}

/** `1 row`, `2 rows`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** As pg_size_pretty: whole numbers in the largest unit that leaves more than one digit or so. */
export function size(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;
  let value = bytes;
  let unit = 0;
  while (value >= 10_240 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Math.round(value)} ${units[unit]}`;
}

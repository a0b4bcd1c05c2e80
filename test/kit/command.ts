/** Runs a command of the `tviews` program in this process and gives what it printed and its exit code. */
import { buildProgram, runProgram } from '../../src/cli/program.ts';
import type { ExitCode, Surroundings } from '../../src/cli/terminal.ts';

export interface CommandResult {
  readonly exitCode: ExitCode;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Ctrl-C, once this is on standard error. */
  readonly interruptAt?: string;
}

export async function tviews(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  let exitCode: ExitCode = 0;
  let interrupted: (() => void) | null = null;
  const surroundings: Surroundings = {
    stdout: {
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
        if (options.interruptAt !== undefined && stderr.includes(options.interruptAt)) interrupted?.();
      },
    },
    env: options.env ?? {},
    readStdin: async () => options.stdin ?? '',
    onInterrupt: (listener) => {
      interrupted = listener;
      return () => {
        interrupted = null;
      };
    },
    setExitCode: (code) => {
      exitCode = code;
    },
  };
  await runProgram(buildProgram(surroundings), argv, surroundings);
  return { exitCode, stdout, stderr };
}

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
}

export async function tviews(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  let exitCode: ExitCode = 0;
  const surroundings: Surroundings = {
    stdout: {
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
    env: options.env ?? {},
    readStdin: async () => options.stdin ?? '',
    setExitCode: (code) => {
      exitCode = code;
    },
  };
  await runProgram(buildProgram(surroundings), argv, surroundings);
  return { exitCode, stdout, stderr };
}

/** The commands that need no proxy, as one commander program. proxy/bin.ts adds `proxy` and `demo`. */
import { Command, CommanderError } from 'commander';
import { addApply } from './commands/apply.ts';
import { addCheckConfig } from './commands/check-config.ts';
import { addDrop } from './commands/drop.ts';
import { addExplain } from './commands/explain.ts';
import { addInit } from './commands/init.ts';
import { addList } from './commands/list.ts';
import { addRebuild } from './commands/rebuild.ts';
import { addStatus } from './commands/status.ts';
import { addResume, addSuspend } from './commands/suspend.ts';
import { addUninstall } from './commands/uninstall.ts';
import { addVerify } from './commands/verify.ts';
import { packageVersion } from './package.ts';
import { processSurroundings, type Surroundings } from './terminal.ts';

export function buildProgram(surroundings: Surroundings = processSurroundings): Command {
  const program = new Command('tviews')
    .description('Read models (tv_*) that PostgreSQL keeps exactly in step with their source tables')
    .version(`tview-proxy ${packageVersion()}`, '-V, --version')
    .showHelpAfterError('(tviews --help lists the commands)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => surroundings.stdout.write(text),
      writeErr: (text) => surroundings.stderr.write(text),
    });
  addInit(program, surroundings);
  addApply(program, surroundings);
  addList(program, surroundings);
  addExplain(program, surroundings);
  addStatus(program, surroundings);
  addVerify(program, surroundings);
  addRebuild(program, surroundings);
  addSuspend(program, surroundings);
  addResume(program, surroundings);
  addDrop(program, surroundings);
  addUninstall(program, surroundings);
  addCheckConfig(program, surroundings);
  return program;
}

/** Parses and runs. `argv` without the program's own name. Sets the exit code; never rejects for a wrong call. */
export async function runProgram(
  program: Command,
  argv: readonly string[],
  surroundings: Surroundings = processSurroundings,
): Promise<void> {
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    // commander has said what is wrong; --help and --version end here too.
    if (!(error instanceof CommanderError)) throw error;
    surroundings.setExitCode(error.exitCode === 0 ? 0 : 2);
  }
}

/** PostgreSQL's own programs against a URL. They are not ours to install: a test that needs one is skipped without it. */
import { execFileSync, spawn } from 'node:child_process';

export interface ProgramResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Whether the program is on PATH; says so when it is not, because tests will be skipped for it. */
export function hasProgram(name: 'psql' | 'pgbench'): boolean {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn(`skipped: ${name} is not on PATH`);
    return false;
  }
}

/** Environment variables by which libpq finds a server; nothing of the user's own (.psqlrc, PG*) gets in. */
export function libpqEnvironment(url: string): Record<string, string> {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    PATH: process.env.PATH ?? '',
    LC_ALL: 'C',
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: pathname.slice(1),
    PGCONNECT_TIMEOUT: '10',
  };
}

export function runProgram(
  name: string,
  argv: readonly string[],
  url: string,
  stdin = '',
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, argv, { env: libpqEnvironment(url), stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
    child.stdin.on('error', () => {}); // it may end before it has read everything
    child.stdin.end(stdin);
  });
}

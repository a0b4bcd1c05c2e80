/** Table of the session benchmark. */
import { caption, table } from '../kit/markdown.ts';
import type { SessionResult } from './run.ts';

export function render(result: SessionResult): string {
  const rows = Object.entries(result.nanoseconds).map(([protocol, ns]) => [protocol, String(ns)]);
  return `${caption(result.circumstances)}

Nanoseconds of our own code per SELECT in transaction mode, both directions, on wires that do nothing: the rest of what
\`relay\` shows is Node's sockets and the kernel.

${table(['protocol', 'ns per query'], rows)}`;
}

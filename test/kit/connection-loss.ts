/** What an error tells a client under fire: its connection is gone, its transaction was refused, or something is wrong. */
import pg from 'pg';

export type ErrorKind = 'lost' | 'refused' | 'finding';

/** Refusals that concurrency and cancelling bring, with PostgreSQL alone as well. */
const REFUSALS = new Set(['40001', '40P01', '57014']);

const LOST = /^Connection (terminated|ended)|^Client has encountered a connection error|not queryable/;

export function errorKind(error: unknown): ErrorKind {
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? '';
    if (REFUSALS.has(code)) return error.severity === 'ERROR' ? 'refused' : 'lost';
    // 57P01 to 57P03: ended, crashed, starting up. Class 08 without 08P01: nobody may break the protocol here.
    if (/^57P0[123]$/.test(code) || (code.startsWith('08') && code !== '08P01')) return 'lost';
    return 'finding';
  }
  if (!(error instanceof Error)) return 'finding';
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return ['ECONNRESET', 'ECONNREFUSED', 'EPIPE'].includes(code) ? 'lost' : 'finding';
  return LOST.test(error.message) ? 'lost' : 'finding';
}

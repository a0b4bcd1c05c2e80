/** Building messages: node-postgres' growing writer, and the one check it lacks. */
import { Writer } from 'pg-protocol/dist/buffer-writer.js';
import { SqlState, TviewsError } from '../../../src/errors/errors.ts';

export { Writer };

/**
 * A string of the protocol ends at its first zero byte: one inside would let what follows it be read as the next
 * field of the message.
 */
export function withoutZeroBytes(text: string): string {
  if (text.includes('\0')) {
    throw new TviewsError(SqlState.invalidParameterValue, 'text contains a zero byte', {
      detail: 'Strings in the PostgreSQL protocol end at their first zero byte.',
    });
  }
  return text;
}
